"""How fast AWS may be called: token buckets per account, region and operation.

AWS throttles by such buckets and publishes their sizes. A server that keeps to them from the start
is not throttled, and leaves the customer's other tools the share that he sets aside. What AWS does
not publish is learnt: a throttle halves the rate, quiet time restores it.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cpm.kernel import clock

# A halved rate is back to what is published after this much quiet.
RECOVERY_SECONDS = 600.0
# Throttles that arrive together are one lesson.
LESSON_SECONDS = 1.0
# However often AWS refuses, a thousandth of the published rate is tried again.
_LEAST_SHARE = 0.001


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket of `burst` tokens, filled with `per_second`."""

    per_second: float
    burst: float

    def share(self, part: float) -> "Rate":
        """The bucket of someone who may use `part` (above 0, at most 1) of this one."""
        return Rate(self.per_second * part, max(1.0, self.burst * part))

    def tolerance_seconds(self, tokens: int = 1) -> float:
        """How far ahead of the clock a bucket may be emptied that has so many tokens left."""
        return max(0.0, self.burst - tokens) / self.per_second


class Budget(Protocol):
    """Who may call AWS when."""

    def reserve(
        self,
        account: str,
        region: str,
        operation: str,
        *,
        tokens: int = 1,
        patience_seconds: float = math.inf,
    ) -> float:
        """Seconds to wait for one's slot in the bucket of `operation` (`ec2:CreateSnapshots`).

        The slot, of so many `tokens`, is taken at once, unless the wait is longer than
        `patience_seconds`.
        """

    def reserve_each(
        self, account: str, region: str, operation: str, calls: int
    ) -> Sequence[float]:
        """Seconds to wait for each of so many slots of one token, however far away they are."""

    def throttled(self, account: str, region: str, operation: str) -> None:
        """Learn that AWS has just refused the call as too fast."""


_READ = Rate(20, 100)
_WRITE = Rate(5, 50)
# Services that publish nothing of the kind answer to a few calls a second.
_UNPUBLISHED = Rate(5, 20)

# "Request throttling for the Amazon EC2 API" in EC2's developer guide, as of 2025: what follows the
# verb (`_READ`, `_WRITE`) and what has a bucket of its own.
_EC2 = {
    "CopyImage": Rate(1, 100),
    "CreateTags": Rate(10, 100),
    "DeleteTags": Rate(10, 100),
    "RunInstances": Rate(2, 5),
    "StartInstances": Rate(2, 5),
    **dict.fromkeys(
        (
            *("AssociateIamInstanceProfile", "CreateNetworkInterface", "CreateSnapshot"),
            *("CreateSnapshots", "CreateVolume", "DeleteNetworkInterface", "DeleteSnapshot"),
            *("DeleteVolume", "DeregisterImage", "ModifyImageAttribute"),
            *("ModifyNetworkInterfaceAttribute", "ModifySnapshotAttribute", "TerminateInstances"),
        ),
        Rate(5, 100),
    ),
}
# Some calls also take a token for each instance from a second bucket.
_EC2_INSTANCES = {
    "RunInstances": Rate(2, 1000),
    "StartInstances": Rate(2, 1000),
    "StopInstances": Rate(20, 1000),
    "TerminateInstances": Rate(20, 1000),
}
_FOR_INSTANCES = " instances"
# For an account and region, whichever the table is.
_DYNAMODB = {
    "CreateBackup": Rate(50, 50),
    "DeleteBackup": Rate(10, 10),
    "DescribeBackup": Rate(10, 10),
    "DescribeContinuousBackups": Rate(10, 10),
    "ListBackups": Rate(5, 5),
    "ListTagsOfResource": Rate(10, 10),
    "RestoreTableFromBackup": Rate(10, 10),
    "TagResource": Rate(5, 5),
    # Published as read capacity, of which a call takes a fraction.
    "DescribeTable": Rate(100, 100),
}
_SERVICES = {
    "sts": Rate(100, 500),
    "ebs": Rate(1000, 1000),
    "s3": Rate(3000, 3000),
}

_READ_VERBS = ("Describe", "Get", "Head", "List", "Search")


def published(operation: str) -> Rate:
    """What AWS grants an account and region for `operation`, or a sane guess."""
    service, _, name = operation.partition(":")
    if service == "ec2" and name.endswith(_FOR_INSTANCES):
        return _EC2_INSTANCES[name.removesuffix(_FOR_INSTANCES)]
    if service == "ec2":
        return _EC2.get(name) or (_READ if name.startswith(_READ_VERBS) else _WRITE)
    if service == "dynamodb":
        return _DYNAMODB.get(name, _UNPUBLISHED)
    return _SERVICES.get(service, _UNPUBLISHED)


def price(operation: str, parameters: Mapping[str, Any]) -> dict[str, int]:
    """The buckets that a call takes tokens from, and how many from each."""
    taken = {operation: 1}
    if operation.removeprefix("ec2:") in _EC2_INSTANCES:
        count = parameters.get("MaxCount") or len(parameters.get("InstanceIds", ()))
        taken[operation + _FOR_INSTANCES] = count
    return taken


def learnt(per_second: float, full_per_second: float, quiet_seconds: float) -> float:
    """The rate to use `quiet_seconds` after a throttle had brought it down to `per_second`."""
    return min(full_per_second, per_second + full_per_second * quiet_seconds / RECOVERY_SECONDS)


def halved(per_second: float, full_per_second: float) -> float:
    """The rate to use right after a throttle."""
    return max(full_per_second * _LEAST_SHARE, per_second / 2)


class _Bucket:
    """One bucket as the time at which it will have been emptied (the GCRA algorithm)."""

    def __init__(self, full: Rate, now: float) -> None:
        self._full = full
        self._per_second = full.per_second
        self._throttled_at = -math.inf
        self._spent_until = now

    def reserve(self, now: float, tokens: int, patience_seconds: float) -> float:
        wait = max(0.0, self._spent_until - self._full.tolerance_seconds(tokens) - now)
        if wait <= patience_seconds:
            self._spent_until = max(self._spent_until, now) + tokens / self._rate(now)
        return wait

    def throttled(self, now: float) -> None:
        if now - self._throttled_at < LESSON_SECONDS:
            return
        self._per_second = halved(self._rate(now), self._full.per_second)
        self._throttled_at = now
        # AWS's bucket is empty, whatever this one said.
        emptied = now + self._full.tolerance_seconds() + 1 / self._per_second
        self._spent_until = max(self._spent_until, emptied)

    def _rate(self, now: float) -> float:
        return learnt(self._per_second, self._full.per_second, now - self._throttled_at)


class MemoryBudget:
    """The budget of one process that shares its accounts with no other. Thread-safe."""

    def __init__(self, share: float = 1.0, rate_of: Callable[[str], Rate] = published) -> None:
        self._share = share
        self._rate_of = rate_of
        self._buckets: dict[tuple[str, str, str], _Bucket] = {}
        self._lock = threading.Lock()

    def reserve(
        self,
        account: str,
        region: str,
        operation: str,
        *,
        tokens: int = 1,
        patience_seconds: float = math.inf,
    ) -> float:
        """See `Budget`."""
        with self._lock:
            now = clock.monotonic()
            bucket = self._bucket(account, region, operation, now)
            return bucket.reserve(now, tokens, patience_seconds)

    def reserve_each(
        self, account: str, region: str, operation: str, calls: int
    ) -> Sequence[float]:
        """See `Budget`."""
        return [self.reserve(account, region, operation) for _ in range(calls)]

    def throttled(self, account: str, region: str, operation: str) -> None:
        """See `Budget`."""
        with self._lock:
            now = clock.monotonic()
            self._bucket(account, region, operation, now).throttled(now)

    def _bucket(self, account: str, region: str, operation: str, now: float) -> _Bucket:
        key = account, region, operation
        if key not in self._buckets:
            self._buckets[key] = _Bucket(self._rate_of(operation).share(self._share), now)
        return self._buckets[key]


class NoBudget:
    """Calls AWS at once, whatever AWS says to that; for tools that make a handful of calls."""

    def reserve(
        self,
        account: str,  # noqa: ARG002 - the protocol's
        region: str,  # noqa: ARG002
        operation: str,  # noqa: ARG002
        *,
        tokens: int = 1,  # noqa: ARG002
        patience_seconds: float = math.inf,  # noqa: ARG002
    ) -> float:
        """See `Budget`."""
        return 0.0

    def reserve_each(
        self,
        account: str,  # noqa: ARG002
        region: str,  # noqa: ARG002
        operation: str,  # noqa: ARG002
        calls: int,
    ) -> Sequence[float]:
        """See `Budget`."""
        return [0.0] * calls

    def throttled(self, account: str, region: str, operation: str) -> None:
        """See `Budget`."""
