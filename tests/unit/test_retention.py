"""What is promised about generations: never fewer, never more, and nothing that is in use."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm.kernel.retention import Decision, Reason, Record, decide

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)

# One letter a record, oldest first: Success, Failed, success Z frozen, success in Use, failed in
# Progress, success that is Gone, one that is Open still; and failed X frozen, only of some runs.
LETTERS = "SFZUPGO"
NO_FAILURES = str.maketrans(dict.fromkeys("FfPO"))


def record(record_id: int, letter: str) -> Record:
    return Record(
        id=record_id,
        run=record_id,
        started_at=BEGINNING + timedelta(days=record_id),
        is_fully_successful=letter in "SZUG",
        is_frozen=letter in "ZX",
        is_in_progress=letter in "UP",
        is_open=letter == "O",
        has_snapshots=letter != "G",
    )


def history(letters: str) -> list[Record]:
    return [record(number, letter) for number, letter in enumerate(letters, start=1)]


def history_of_runs(runs: list[str]) -> list[Record]:
    """Several letters together are a record and its retries."""
    numbers = [number for number, run in enumerate(runs) for _ in run]
    records = history("".join(runs))
    return [replace(each, run=run) for each, run in zip(records, numbers, strict=True)]


def expired(records: list[Record], generations: int) -> set[int]:
    return {each.record_id for each in decide(records, generations) if each.expires}


def fates(letters: str, generations: int) -> str:
    """The letters again, in lower case where the snapshots are to be deleted."""
    return marked(letters, expired(history(letters), generations))


def marked(letters: str, gone: set[int]) -> str:
    return "".join(
        letter.lower() if number in gone else letter
        for number, letter in enumerate(letters, start=1)
    )


@pytest.mark.parametrize(
    ("generations", "expected"),
    [
        (2, "ssSS"),  # older than the second success
        (4, "SSSS"),
        (5, "SSSS"),  # fewer successes than generations
        (1, "sssS"),
        (2, "sfSFSF"),  # failed ones in between stay, older ones go
        (2, "FFSF"),  # nothing goes before the promise is kept
        (1, "FFFF"),
        (1, "sZsZS"),  # frozen ones are skipped
        (2, "SZZS"),  # and do not count
        (1, "sUsS"),  # what is in use is not touched
        (1, "PfS"),
        (2, "sSUP"),  # a success counts while it is copied or recovered from
        (1, "sSG"),  # what is gone is no generation
        (2, "GSS"),
    ],
)
def test_generations_decide(generations: int, expected: str) -> None:
    letters = expected.upper()
    assert fates(letters, generations) == expected


@pytest.mark.parametrize(
    ("generations", "expected"),
    [
        (1, "s FS"),  # a retry completes what it repeats, and does not push it out
        (1, "fs S"),  # they go together
        (2, "s FS FS"),
        (1, "S FF"),  # nothing is complete that no retry has completed
        (1, "s XS"),  # one of them that is frozen stays, and the others count
        (1, "Xs S"),
        (1, "S FZ"),  # a success that is frozen does not count, and what it completed waits
        (1, "fZ S"),
        (1, "fU S"),  # what is in use is not touched
        (1, "S FO"),  # a retry that is under way completes nothing yet
        (1, "S FG"),
        (1, "s GS"),
    ],
)
def test_a_run_is_one_generation_and_each_of_its_records_its_own(
    generations: int, expected: str
) -> None:
    runs = expected.upper().split()
    gone = expired(history_of_runs(runs), generations)
    assert marked("".join(runs), gone) == expected.replace(" ", "")


def test_every_record_is_told_why_and_for_how_long() -> None:
    assert decide(history("UFSFZSGFO"), 2) == [
        Decision(9, Reason.IN_PROGRESS, 2),
        Decision(8, Reason.NOT_YET_OLD, 2),
        Decision(7, Reason.NO_SNAPSHOTS, None),
        Decision(6, Reason.GENERATION, 2),
        Decision(5, Reason.FROZEN, None),
        Decision(4, Reason.NOT_YET_OLD, 1),
        Decision(3, Reason.GENERATION, 1),
        Decision(2, Reason.EXPIRED, 0),
        Decision(1, Reason.IN_PROGRESS, 0),
    ]


def test_what_expires_or_is_gone_is_not_kept() -> None:
    kept = {each.reason: each.kept for each in decide(history("UFSFZSGF"), 2)}
    assert kept == {
        Reason.NOT_YET_OLD: True,
        Reason.NO_SNAPSHOTS: False,
        Reason.GENERATION: True,
        Reason.FROZEN: True,
        Reason.EXPIRED: False,
        Reason.IN_PROGRESS: True,
    }


def test_the_newest_is_the_one_that_started_last_whatever_its_id() -> None:
    later = replace(record(1, "S"), started_at=BEGINNING + timedelta(days=9))
    assert expired([later, record(2, "S")], 1) == {2}


def test_of_two_that_started_together_the_later_record_is_the_newer() -> None:
    twins = [
        Record(id=record_id, run=record_id, started_at=BEGINNING, is_fully_successful=True)
        for record_id in (10, 9)
    ]
    assert expired(twins, 1) == {9}


@pytest.mark.parametrize("generations", [0, -1])
def test_no_policy_keeps_nothing(generations: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        decide([], generations)


histories = st.text(LETTERS, max_size=25)
generation_counts = st.integers(1, 8)


@given(histories, generation_counts)
def test_there_are_never_fewer_generations_than_promised(letters: str, generations: int) -> None:
    left = fates(letters, generations)
    had = letters.count("S") + letters.count("U")
    assert left.count("S") + left.count("U") >= min(generations, had)


@given(histories, generation_counts)
def test_there_are_never_more_generations_than_promised_and_in_use(
    letters: str, generations: int
) -> None:
    left = fates(letters, generations)
    assert left.count("S") <= generations
    assert left.count("S") + left.count("U") <= generations + letters.count("U")


@given(histories, generation_counts)
def test_what_is_kept_is_the_newest(letters: str, generations: int) -> None:
    left = fates(letters, generations)
    assert "s" not in left[left.find("S") :] if "S" in left else True


@given(histories, generation_counts)
def test_what_is_frozen_in_use_or_gone_is_left_alone(letters: str, generations: int) -> None:
    assert not set(fates(letters, generations)) & set("zupgo")


@given(histories, generation_counts)
def test_frozen_records_change_nothing_for_the_others(letters: str, generations: int) -> None:
    left = fates(letters, generations)
    assert fates(letters.replace("Z", ""), generations) == left.replace("Z", "")


@given(histories, generation_counts)
def test_failures_change_nothing_for_the_others(letters: str, generations: int) -> None:
    left = fates(letters, generations)
    without = fates(letters.translate(NO_FAILURES), generations)
    assert without == left.translate(NO_FAILURES)


@given(histories, generation_counts)
def test_deciding_again_after_deleting_deletes_nothing_more(letters: str, generations: int) -> None:
    left = "".join("G" if letter.islower() else letter for letter in fates(letters, generations))
    assert fates(left, generations) == left


@given(histories, st.sampled_from(LETTERS), generation_counts)
def test_a_newer_record_brings_nothing_back(letters: str, newer: str, generations: int) -> None:
    before, after = fates(letters, generations), fates(letters + newer, generations)
    assert all(now.islower() for then, now in zip(before, after, strict=False) if then.islower())


@given(histories, generation_counts)
def test_a_higher_promise_deletes_no_more(letters: str, generations: int) -> None:
    fewer, more = fates(letters, generations), fates(letters, generations + 1)
    assert all(few.islower() for few, many in zip(fewer, more, strict=True) if many.islower())


@given(st.permutations(history("SFZUPGSFZUPGSS")), generation_counts)
def test_the_order_of_the_records_does_not_matter(shuffled: list[Record], generations: int) -> None:
    assert decide(shuffled, generations) == decide(history("SFZUPGSFZUPGSS"), generations)


@given(histories, generation_counts)
def test_a_record_goes_after_as_many_successes_as_it_was_told(
    letters: str, generations: int
) -> None:
    for decision in decide(history(letters), generations):
        if not decision.expires_after:
            continue
        place = decision.record_id - 1
        one_too_few = fates(letters + "S" * (decision.expires_after - 1), generations)
        enough = fates(letters + "S" * decision.expires_after, generations)
        assert one_too_few[place].isupper()
        assert enough[place].islower() or letters[place] in "UPO"
