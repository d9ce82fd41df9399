"""What things may be called.

Each rule takes what was sent, cuts the blanks around it, and returns it or raises `Invalid` with
the codes `blank`, `max_length` and `invalid`. The patterns and lengths are public for whoever
describes the rules (schemas, forms, columns).
"""

import re
import unicodedata
from urllib.parse import urlsplit

from cpm.kernel.invalid import Invalid, Problem

MAX_NAME_LENGTH = 100
MAX_USERNAME_LENGTH = 150
MAX_DESCRIPTION_LENGTH = 1000
MAX_HOST_LENGTH = 255
MAX_URL_LENGTH = 2000

ACCOUNT_NAME_PATTERN = "[A-Za-z0-9_]+"
NAME_PATTERN = "[A-Za-z0-9_-]+"
HOST_PATTERN = r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]"
USERNAME_PATTERN = "[A-Za-z0-9@.+_-]+"
URL_PATTERN = r"(?i:https?)://[!-~]+"

_FORBIDDEN_IN_DESCRIPTIONS = frozenset("<>\\")

# Controls, halves of characters (which no database takes), and what else ends a line.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def account_name(text: str) -> str:
    """The name of an AWS account."""
    characters = "letters, digits and _"
    return _matching(ACCOUNT_NAME_PATTERN, text, MAX_NAME_LENGTH, characters)


def name(text: str) -> str:
    """The name of a policy, schedule, repository, group or frozen backup."""
    return _matching(NAME_PATTERN, text, MAX_NAME_LENGTH, "letters, digits, _ and -")


def username(text: str) -> str:
    """The name by which a user or delegate logs in."""
    characters = "letters, digits and @ . + - _"
    return _matching(USERNAME_PATTERN, text, MAX_USERNAME_LENGTH, characters)


def description(text: str) -> str:
    """A description of anything: one line of any text but `<`, `>` and `\\`; it may be empty."""
    cleaned = text.strip()
    problems = _length_problems(cleaned, MAX_DESCRIPTION_LENGTH)
    if any(map(_is_forbidden_in_descriptions, cleaned)):
        message = "One line of text without < > \\ and control characters."
        problems.append(Problem("invalid", message))
    return _accepted(cleaned, problems)


def host(text: str) -> str:
    """The name or address of a machine; it may be empty."""
    cleaned = text.strip()
    if not cleaned:
        return ""
    characters = "letters, digits and . : - [ ]"
    return _matching(HOST_PATTERN, cleaned, MAX_HOST_LENGTH, characters)


def url(text: str) -> str:
    """The address of a page, http or https; it may be empty."""
    cleaned = text.strip()
    problems = _length_problems(cleaned, MAX_URL_LENGTH)
    if cleaned and not _is_url(cleaned):
        problems.append(Problem("invalid", "Enter a valid URL."))
    return _accepted(cleaned, problems)


def is_name(text: str) -> bool:
    """Whether `name` would return exactly this."""
    return len(text) <= MAX_NAME_LENGTH and re.fullmatch(NAME_PATTERN, text) is not None


def _matching(pattern: str, text: str, max_length: int, characters: str) -> str:
    cleaned = text.strip()
    if not cleaned:
        raise Invalid(Problem("blank", "This field may not be blank."))
    problems = _length_problems(cleaned, max_length)
    if not re.fullmatch(pattern, cleaned):
        problems.append(Problem("invalid", f"Only ASCII {characters} are allowed."))
    return _accepted(cleaned, problems)


def _is_url(text: str) -> bool:
    if not re.fullmatch(URL_PATTERN, text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False


def _length_problems(text: str, max_length: int) -> list[Problem]:
    if len(text) <= max_length:
        return []
    message = f"Ensure this field has no more than {max_length} characters."
    return [Problem("max_length", message)]


def _is_forbidden_in_descriptions(character: str) -> bool:
    is_control = unicodedata.category(character) in _FORBIDDEN_CATEGORIES
    return is_control or character in _FORBIDDEN_IN_DESCRIPTIONS


def _accepted(text: str, problems: list[Problem]) -> str:
    if problems:
        raise Invalid(*problems)
    return text
