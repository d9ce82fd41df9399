"""What tags on resources ask for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm.kernel import names
from cpm.kernel.tagspec import (
    BACKUP_OPTIONS,
    INSTANCE_OPTIONS,
    KEYS,
    VOLUME_OPTIONS,
    Mention,
    Option,
    Problem,
    Protection,
    Reason,
    parse,
)

SPACED, UNDERSCORED = KEYS


def reading(value: str) -> Protection:
    return parse({SPACED: value})


def problems_of(value: str) -> list[tuple[str, str]]:
    return [(problem.reason.value, problem.text) for problem in reading(value).problems]


def test_the_tag_names_policies_in_order() -> None:
    assert reading("silver gold").policies == (Mention("silver"), Mention("gold"))


def test_any_blanks_separate_and_surround() -> None:
    assert reading("  gold \t silver\n") == reading("gold silver")


def test_names_are_case_sensitive() -> None:
    assert reading("Gold gold").policies == (Mention("Gold"), Mention("gold"))


def test_a_policy_may_be_made_from_a_template() -> None:
    assert reading("gold-eu:gold").policies == (Mention("gold-eu", "gold"),)


@pytest.mark.parametrize("option", sorted(BACKUP_OPTIONS))
def test_an_instance_is_told_how_to_be_backed_up(option: Option) -> None:
    (mention,) = reading(f"gold#{option}").policies
    assert mention.backup_option is option
    assert not mention.is_app_aware


def test_options_are_off_unless_they_are_said() -> None:
    (mention,) = reading("gold").policies
    assert mention.backup_option is None
    assert not any([mention.is_app_aware, mention.is_app_aware_vss, mention.excludes])


@pytest.mark.parametrize(
    ("options", "vss"),
    [("#app-aware", False), ("#app-aware-vss", True), ("#app-aware#app-aware-vss", True)],
)
def test_vss_is_app_aware_too(options: str, vss: bool) -> None:
    (mention,) = reading(f"gold#initial-ami{options}").policies
    assert mention.is_app_aware
    assert mention.is_app_aware_vss is vss
    assert mention.backup_option is Option.INITIAL_AMI


def test_a_volume_can_be_left_out_of_one_policy_and_belong_to_another() -> None:
    volume = reading("gold#exclude silver")
    assert volume.exclusions == {"gold"}
    assert volume.policies == (Mention("silver"),)
    assert not volume.is_excluded_everywhere


def test_a_volume_can_be_left_out_of_every_policy() -> None:
    assert reading("#exclude") == Protection(is_excluded_everywhere=True)
    assert reading("gold #exclude").policies == (Mention("gold"),)


def test_no_backup_is_said_alone() -> None:
    assert reading("no-backup") == Protection(no_backup=True)


@pytest.mark.parametrize("value", ["no-backup gold", "gold no-backup", "gold no-backup no-backup"])
def test_no_backup_beats_what_stands_beside_it(value: str) -> None:
    assert reading(value).no_backup
    assert reading(value).policies == ()
    assert problems_of(value) == [("beside_no_backup", "gold")]


def test_both_keys_are_united() -> None:
    both = parse({UNDERSCORED: "silver #exclude", SPACED: "gold"})
    assert both.policies == (Mention("gold"), Mention("silver"))
    assert both.is_excluded_everywhere


def test_the_first_mention_of_a_policy_wins() -> None:
    both = parse({UNDERSCORED: "gold#only-amis", SPACED: "gold:old gold:new"})
    assert both == Protection(mentions=(Mention("gold", "old"),))


def test_no_backup_under_one_key_beats_the_other() -> None:
    both = parse({UNDERSCORED: "no-backup", SPACED: "gold"})
    assert both == Protection(no_backup=True, problems=(Problem(Reason.BESIDE_NO_BACKUP, "gold"),))


@pytest.mark.parametrize("key", ["CPM backup", "cpm-backup", "cpm  backup", "Name", ""])
def test_other_keys_have_no_say(key: str) -> None:
    assert parse({key: "gold"}) == parse({}) == Protection()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", ("empty", "")),
        ("  ", ("empty", "  ")),
        ("#only-snaps", ("no_policy", "#only-snaps")),
        ("#exclude#exclude", ("no_policy", "#exclude#exclude")),
        (":gold", ("no_policy", ":gold")),
        ("#", ("no_policy", "#")),
        ("gold,silver", ("bad_policy_name", "gold,silver")),
        ("g\u00f6ld#only-snaps", ("bad_policy_name", "g\u00f6ld#only-snaps")),
        ("no-backup#only-snaps", ("bad_policy_name", "no-backup#only-snaps")),
        ("a" * 101, ("bad_policy_name", "a" * 101)),
    ],
)
def test_what_names_no_policy_is_a_problem(value: str, problem: tuple[str, str]) -> None:
    assert replace(reading(value), problems=()) == Protection()
    assert problems_of(value) == [problem]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("gold#fast", ("unknown_option", "gold#fast")),
        ("gold#Only-Snaps", ("unknown_option", "gold#Only-Snaps")),
        ("gold#", ("unknown_option", "gold#")),
        ("gold:", ("bad_template_name", "gold:")),
        ("gold:a:b", ("bad_template_name", "gold:a:b")),
    ],
)
def test_a_resource_is_protected_whatever_follows_the_policy(
    value: str, problem: tuple[str, str]
) -> None:
    assert reading(value).policies == (Mention("gold"),)
    assert problems_of(value) == [problem]


def test_of_two_backup_options_the_first_holds() -> None:
    value = "gold#only-amis#only-snaps#only-amis"
    assert reading(value).policies == (Mention("gold", None, frozenset({Option.ONLY_AMIS})),)
    assert problems_of(value) == [("second_backup_option", "gold#only-snaps")]


def test_one_bad_item_does_not_harm_the_others() -> None:
    assert reading("g/ld silver#app-aware b:").policies == (
        Mention("silver", None, frozenset({Option.APP_AWARE})),
        Mention("b"),
    )


@pytest.mark.parametrize(
    ("value", "known", "policies", "surplus"),
    [
        ("gold#exclude", INSTANCE_OPTIONS, ["gold"], ["gold#exclude"]),
        ("gold #exclude", INSTANCE_OPTIONS, ["gold"], ["#exclude"]),
        ("gold#only-snaps#app-aware", INSTANCE_OPTIONS, ["gold#only-snaps#app-aware"], []),
        ("gold#exclude#only-snaps", VOLUME_OPTIONS, [], ["gold#only-snaps"]),
        ("gold#app-aware", VOLUME_OPTIONS, ["gold"], ["gold#app-aware"]),
        ("gold:old#only-amis", frozenset(), ["gold:old"], ["gold#only-amis"]),
    ],
)
def test_an_option_of_another_kind_is_a_problem_and_the_resource_is_protected(
    value: str, known: frozenset[Option], policies: list[str], surplus: list[str]
) -> None:
    limited = reading(value).limited_to(known)
    assert [str(mention) for mention in limited.policies] == policies
    assert [problem.text for problem in limited.problems] == surplus
    assert {problem.reason for problem in limited.problems} <= {Reason.OPTION_NOT_FOR_THIS_RESOURCE}


def test_exclusions_hold_for_volumes() -> None:
    volume = reading("gold#exclude #exclude").limited_to(VOLUME_OPTIONS)
    assert volume == reading("gold#exclude #exclude")


policy_names = st.from_regex(names.NAME_PATTERN, fullmatch=True).filter(
    lambda name: names.is_name(name) and name != "no-backup"
)
option_sets = st.builds(
    lambda one, others: frozenset({*others, *([one] if one else [])}),
    st.none() | st.sampled_from(sorted(BACKUP_OPTIONS)),
    st.sets(st.sampled_from(sorted(set(Option) - BACKUP_OPTIONS))),
)
mentions = st.builds(Mention, policy_names, st.none() | policy_names, option_sets)
protections = st.just(Protection(no_backup=True)) | st.builds(
    Protection,
    st.lists(mentions, unique_by=lambda mention: mention.policy).map(tuple),
    st.booleans(),
)
words = [
    "gold",
    "no-backup",
    "exclude",
    "only-snaps",
    "only-amis",
    "app-aware",
    "#",
    ":",
    " ",
    "\u00e9",
]
values = st.text() | st.lists(st.sampled_from(words)).map("".join)
some_tags = st.dictionaries(st.sampled_from([*KEYS, "Name"]), values)


@given(protections)
def test_what_is_printed_is_read_back(protection: Protection) -> None:
    assert parse(protection.to_tags()) == protection


@given(some_tags)
def test_whatever_the_tags_say_they_can_be_read(tags: dict[str, str]) -> None:
    protection = parse(tags)
    mentioned = [mention.policy for mention in protection.mentions]
    assert len(set(mentioned)) == len(mentioned)
    assert all(names.is_name(policy) for policy in mentioned)
    assert not (protection.no_backup and (mentioned or protection.is_excluded_everywhere))


@given(some_tags)
def test_what_was_understood_can_be_said_without_problems(tags: dict[str, str]) -> None:
    protection = parse(tags)
    assert parse(protection.to_tags()) == replace(protection, problems=())


@given(some_tags, st.sets(st.sampled_from(Option)))
def test_limiting_loses_nothing_in_silence(tags: dict[str, str], known: set[Option]) -> None:
    protection = parse(tags)
    limited = protection.limited_to(known)
    lost = sum(len(mention.options - known) for mention in protection.mentions)
    lost += protection.is_excluded_everywhere and Option.EXCLUDE not in known
    assert len(limited.problems) == len(protection.problems) + lost
    assert limited.limited_to(known) == limited


@given(values, values)
def test_the_keys_are_read_one_after_the_other(first: str, second: str) -> None:
    both, joined = parse({UNDERSCORED: second, SPACED: first}), reading(f"{first} {second}")
    assert both.to_tags() == joined.to_tags()


@given(values, values)
def test_tags_of_two_resources_join_as_if_one_had_them(first: str, second: str) -> None:
    joined = reading(first).joined(reading(second))
    assert joined.to_tags() == reading(f"{first} {second}").to_tags()
    assert len(joined.problems) == len(reading(first).problems) + len(reading(second).problems)
