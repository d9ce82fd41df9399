"""What names, user names and descriptions may hold."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm.kernel import names
from cpm.kernel.invalid import Invalid

Rule = Callable[[str], str]

RULES: list[Rule] = [names.account_name, names.name, names.username, names.description]
NAMES: list[Rule] = RULES[:3]


def codes(rule: Rule, text: str) -> list[str]:
    with pytest.raises(Invalid) as caught:
        rule(text)
    return [problem.code for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (names.account_name, "Prod_1"),
        (names.account_name, "_"),
        (names.name, "prod-eu_1"),
        (names.name, "-"),
        (names.name, "no-backup"),
        (names.username, "ann.o+x@example-1_a.org"),
        (names.username, "007"),
        (names.description, "Half price & 100 % more, it's / was"),
        (names.description, ""),
    ],
)
def test_what_is_allowed_is_kept_as_it_is(rule: Rule, text: str) -> None:
    assert rule(text) == text


@pytest.mark.parametrize("rule", RULES)
def test_surrounding_blanks_are_cut(rule: Rule) -> None:
    assert rule(" \tgold\r\n") == "gold"


@pytest.mark.parametrize("rule", NAMES)
@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_name_is_not_blank(rule: Rule, text: str) -> None:
    assert codes(rule, text) == ["blank"]


def test_a_description_of_blanks_is_empty() -> None:
    assert names.description("  ") == ""


@pytest.mark.parametrize("rule", NAMES)
@pytest.mark.parametrize(
    "text",
    [
        "two words",
        "two\nlines",
        "caf\u00e9",
        "\u0430dmin",  # with a Cyrillic a
        "\uff11\u0663",  # digits of other scripts
        "zero\u200bwidth",
        "nul\0",
        "\0",
        "half\ud800",
        "a/b",
        "a:b",
        "a#b",
        "a,b",
        "'",
        "<b>",
    ],
)
def test_characters_beyond_the_rule_are_invalid(rule: Rule, text: str) -> None:
    assert codes(rule, text) == ["invalid"]


def test_accounts_have_no_hyphens() -> None:
    assert codes(names.account_name, "prod-1") == ["invalid"]


@pytest.mark.parametrize("text", list("@.+"))
def test_only_user_names_look_like_addresses(text: str) -> None:
    assert names.username(text) == text
    assert codes(names.account_name, text) == codes(names.name, text) == ["invalid"]


@pytest.mark.parametrize(
    ("rule", "longest"),
    [
        (names.account_name, 100),
        (names.name, 100),
        (names.username, 150),
        (names.description, 1000),
    ],
)
def test_the_longest_is_kept_and_one_more_is_too_long(rule: Rule, longest: int) -> None:
    assert rule(f" {'a' * longest} ") == "a" * longest
    assert codes(rule, "a" * (longest + 1)) == ["max_length"]


@pytest.mark.parametrize("rule", RULES)
def test_all_faults_are_told_at_once(rule: Rule) -> None:
    assert codes(rule, "<" * 1001) == ["max_length", "invalid"]


@pytest.mark.parametrize("text", [*"<>\\", "\0", "\x07", "\x7f", "\x85", "\u2028", "\ud800"])
def test_a_description_is_one_line_of_harmless_text(text: str) -> None:
    assert codes(names.description, f"a{text}b") == ["invalid"]


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a\rb"])
def test_a_description_has_no_blanks_but_spaces_inside(text: str) -> None:
    assert codes(names.description, text) == ["invalid"]


def test_a_description_may_be_in_any_language() -> None:
    text = "Sicherung f\u00fcr \u6771\u4eac \U0001f469\u200d\U0001f4bb"
    assert names.description(text) == text


@given(st.text() | st.text("aZ0_-@.+ #", max_size=9))
def test_a_rule_lets_through_what_its_pattern_describes_and_nothing_else(text: str) -> None:
    for rule, pattern in [
        (names.account_name, names.ACCOUNT_NAME_PATTERN),
        (names.name, names.NAME_PATTERN),
        (names.username, names.USERNAME_PATTERN),
    ]:
        fits = re.fullmatch(pattern, text.strip()) is not None
        assert fits == (_cleaned(rule, text) is not None)


@given(st.text() | st.from_regex(names.NAME_PATTERN, fullmatch=True))
def test_what_is_a_name_is_what_comes_back_unchanged(text: str) -> None:
    assert names.is_name(text) == (_cleaned(names.name, text) == text)


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    for rule in RULES:
        cleaned = _cleaned(rule, text)
        assert cleaned is None or rule(cleaned) == cleaned


def _cleaned(rule: Rule, text: str) -> str | None:
    try:
        return rule(text)
    except Invalid:
        return None
