"""Logging in to the console: with a user name and a password that can be guessed, or by the
identity provider's word, which cannot.
"""

from django.contrib.auth.hashers import make_password

from cpm.models.users import User
from cpm.queries import people
from cpm.queries.errors import NotFound
from cpm.services import assertions, audit, provided
from cpm.services.attempts import Limit
from cpm.services.kinds import is_storable
from cpm.services.provided import ClaimsRefused
from cpm.services.saml import NotVouchedFor, Subject

_MINUTES = 60
WRONG_FOR_NAME = Limit("login name", 10, 10 * _MINUTES, bars=True)
WRONG_FROM_ADDRESS = Limit("login address", 100, 10 * _MINUTES, bars=True)
# Beyond it nothing is looked at any worse; only the trail is spared.
BAD_FROM_PROVIDER = Limit("login provider", 100, 10 * _MINUTES)
_MOST_OF_A_REASON = 500


class LoginRefused(Exception):
    """No such user, or not his password; which of the two is not told."""


def log_in(username: str, password: str, source_address: str) -> User:
    """The user or delegate who proves himself with his password.

    Raises `LoginRefused`, and `TooMany` where too many wrong passwords came before, from the
    address or for this name from it.
    """
    if not is_storable(username):
        username = ""  # nobody is called so
    name_there = f"{username.lower()} {source_address}"
    WRONG_FROM_ADDRESS.require_open(source_address)
    WRONG_FOR_NAME.require_open(name_there)
    person = _with_password(username, password)
    if person is None:
        audit.record_failure("log-in refused", source_address=source_address, name=username)
        WRONG_FOR_NAME.count_bad(name_there)
        WRONG_FROM_ADDRESS.count_bad(source_address)
        raise LoginRefused
    audit.record(people.of(person, source_address), "log in")
    return person


def log_in_by_provider(answer: str, request_id: str, source_address: str) -> tuple[User, Subject]:
    """The user or delegate for whom the provider vouches, and what it knows him by.

    `request_id` names the question that this browser was sent away with. Raises `NotVouchedFor`,
    `ClaimsRefused`, and `TooMany` where too many bad answers came before from the address.
    """
    name = ""
    try:
        vouched = assertions.believe(answer, request_id)
        name = vouched.subject.name
        person = provided.admit(vouched)
    except (NotVouchedFor, ClaimsRefused) as refused:
        BAD_FROM_PROVIDER.count_bad(source_address)
        audit.record_failure(
            "log-in refused",
            source_address=source_address,
            name=name,
            description=f"identity provider: {refused}"[:_MOST_OF_A_REASON],
        )
        raise
    audit.record(people.of(person, source_address), "log in", description="identity provider")
    return person, vouched.subject


def log_out(person: people.Person) -> None:
    """Note that somebody has left the console."""
    audit.record(person, "log out")


def _with_password(username: str, password: str) -> User | None:
    try:
        person = people.named(username)
    except NotFound:
        make_password(password)  # takes as long as the check of one that exists
        return None
    owner = person.original_user or person
    may_enter = person.is_active and owner.is_active
    return person if person.check_password(password) and may_enter else None
