"""What can go wrong outside, in eight kinds; the kind alone decides whether to try again."""

from enum import StrEnum


class FaultKind(StrEnum):
    """Every failure of a call to AWS is one of these."""

    THROTTLED = "throttled"  # too fast: later, slower
    TRANSIENT = "transient"  # AWS's or the network's trouble, nothing was done: later
    UNKNOWN = "unknown"  # it may or may not have been done: find out, then later
    DENIED = "denied"  # credentials or rights
    INVALID = "invalid"  # the request itself is wrong
    MISSING = "missing"  # what it is about does not exist
    QUOTA = "quota"  # a limit of the service: later, when something else is done
    LOCKED = "locked"  # in use, protected or in a state that forbids it


_WORTH_ANOTHER_TRY = frozenset(
    {FaultKind.THROTTLED, FaultKind.TRANSIENT, FaultKind.UNKNOWN, FaultKind.QUOTA}
)


class Fault(Exception):
    """A classified failure.

    `operation` is AWS's name of the call (`ec2:CreateSnapshot`), `code` AWS's error code; both are
    empty where AWS was not reached. `retry_after_seconds` is a wish of the other side, if any.
    """

    def __init__(
        self,
        kind: FaultKind,
        message: str,
        *,
        operation: str = "",
        code: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.operation = operation
        self.code = code
        self.retry_after_seconds = retry_after_seconds

    @property
    def worth_another_try(self) -> bool:
        """Whether the same call may succeed later without anybody changing anything."""
        return self.kind in _WORTH_ANOTHER_TRY

    @property
    def effect_is_unknown(self) -> bool:
        """Whether the call may have taken effect although it failed."""
        return self.kind is FaultKind.UNKNOWN

    def __str__(self) -> str:
        where = " ".join(part for part in (self.operation, self.code) if part)
        return f"{where}: {self.message}" if where else self.message
