"""Which backup records of a policy lose their snapshots in AWS.

A policy promises a number of generations: its newest fully successful backups. What is older than
all of them goes, failed ones included; what lies between them stays. A record counts only for
what could be recovered from it, so one whose snapshots were deleted is no generation.

A retry repeats what failed and nothing else. A record and its retries are therefore one run, and
one generation: they are as old as the first of them, and complete when one of them is. Otherwise
each is judged by itself.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What decides about a backup record.

    `is_fully_successful` includes DR when it was due: neither pending nor failed DR is a success.
    `is_open` is a backup that is still under way; `is_in_progress` is any other work that needs its
    snapshots: its DR or S3 copy, a recovery from it. `has_snapshots` tells whether AWS holds any of
    them that nobody wants away.
    """

    id: int
    run: Hashable
    started_at: datetime
    is_fully_successful: bool
    is_frozen: bool = False
    is_open: bool = False
    is_in_progress: bool = False
    has_snapshots: bool = True

    @property
    def is_generation(self) -> bool:
        """Whether its run counts, by it, towards what the policy promises."""
        return self.is_fully_successful and self.has_snapshots and not self.is_frozen


class Reason(StrEnum):
    """Why a record keeps its snapshots or loses them."""

    FROZEN = "frozen"
    GENERATION = "generation"  # of one of the newest complete runs
    NOT_YET_OLD = "not_yet_old"  # of no complete run, but too few are newer
    IN_PROGRESS = "in_progress"  # being made; or old enough to go, but something needs it
    EXPIRED = "expired"
    NO_SNAPSHOTS = "no_snapshots"  # nothing left to keep or to delete


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one record's snapshots.

    `expires_after` is how many further full successes of the policy it takes until they go: 0
    where they go now or when the work in progress ends, None where generations have no say.
    """

    record_id: int
    reason: Reason
    expires_after: int | None

    @property
    def expires(self) -> bool:
        """Whether the record's snapshots are to be deleted now."""
        return self.reason is Reason.EXPIRED

    @property
    def kept(self) -> bool:
        """Whether there are snapshots and they stay."""
        return self.reason not in {Reason.EXPIRED, Reason.NO_SNAPSHOTS}


def decide(records: Iterable[Record], generations: int) -> list[Decision]:
    """One decision for each record of a policy, those of the newest run first.

    Raises ValueError unless `generations` is at least 1.
    """
    if generations < 1:
        raise ValueError("a policy keeps at least one generation")
    decisions = []
    wanted = generations
    for run in _newest_first(records):
        counts = any(record.is_generation for record in run)
        decisions += [_decision(record, wanted, run_counts=counts) for record in run]
        if counts and wanted:
            wanted -= 1
    return decisions


def _newest_first(records: Iterable[Record]) -> list[Sequence[Record]]:
    """The runs by their first records, and the records of each, the newest first."""
    runs: dict[Hashable, list[Record]] = {}
    for record in sorted(records, key=lambda record: (record.started_at, record.id)):
        runs.setdefault(record.run, []).append(record)
    return [run[::-1] for run in reversed(runs.values())]


def _decision(record: Record, wanted: int, *, run_counts: bool) -> Decision:
    """`wanted` is how many generations the newer runs leave to be found."""
    if record.is_open:
        return Decision(record.id, Reason.IN_PROGRESS, wanted)
    if not record.has_snapshots:
        return Decision(record.id, Reason.NO_SNAPSHOTS, None)
    if record.is_frozen:
        return Decision(record.id, Reason.FROZEN, None)
    if not wanted:
        needed = record.is_in_progress
        return Decision(record.id, Reason.IN_PROGRESS if needed else Reason.EXPIRED, 0)
    return Decision(record.id, Reason.GENERATION if run_counts else Reason.NOT_YET_OLD, wanted)
