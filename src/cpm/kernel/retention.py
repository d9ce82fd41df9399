"""Which backup records of a policy lose their snapshots in AWS.

A policy promises a number of generations: its newest fully successful backups. What is older than
all of them goes, failed ones included; what lies between them stays. A record counts only for
what could be recovered from it, so one whose snapshots were deleted is no generation.

A retry repeats what failed and nothing else. A record and its retries are therefore to be given as
one record, or the retry would push out what it completes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What decides about a backup record.

    `is_fully_successful` includes DR when it was due: neither pending nor failed DR is a success.
    `is_in_progress` is any work that needs its snapshots: its backup, its DR or S3 copy, a
    recovery from it. `has_snapshots` tells whether AWS still holds any of them.
    """

    id: int
    started_at: datetime
    is_fully_successful: bool
    is_frozen: bool = False
    is_in_progress: bool = False
    has_snapshots: bool = True

    @property
    def is_generation(self) -> bool:
        """Whether it counts towards what the policy promises."""
        return self.is_fully_successful and self.has_snapshots and not self.is_frozen


class Reason(StrEnum):
    """Why a record keeps its snapshots or loses them."""

    FROZEN = "frozen"
    GENERATION = "generation"  # one of the newest full successes
    NOT_YET_OLD = "not_yet_old"  # no full success itself, but too few are newer
    IN_PROGRESS = "in_progress"  # old enough to go, but something still needs it
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
    """One decision for each record of a policy, newest first.

    Raises ValueError unless `generations` is at least 1.
    """
    if generations < 1:
        raise ValueError("a policy keeps at least one generation")
    decisions = []
    wanted = generations
    for record in sorted(records, key=lambda record: (record.started_at, record.id), reverse=True):
        decisions.append(_decision(record, wanted))
        if record.is_generation and wanted:
            wanted -= 1
    return decisions


def _decision(record: Record, wanted: int) -> Decision:
    """`wanted` is how many generations the newer records leave to be found."""
    if not record.has_snapshots:
        return Decision(record.id, Reason.NO_SNAPSHOTS, None)
    if record.is_frozen:
        return Decision(record.id, Reason.FROZEN, None)
    return Decision(record.id, _reason(record, wanted), wanted)


def _reason(record: Record, wanted: int) -> Reason:
    if wanted:
        return Reason.GENERATION if record.is_generation else Reason.NOT_YET_OLD
    return Reason.IN_PROGRESS if record.is_in_progress else Reason.EXPIRED
