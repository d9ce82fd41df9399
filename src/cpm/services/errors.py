"""Why a request is refused, apart from values that break a rule (`cpm.kernel.invalid`) and what
nobody can see (`cpm.queries.errors`). Failures of AWS are `cpm.kernel.faults.Fault`.
"""

from typing import ClassVar


class Refused(Exception):
    """A request that is understood and will not be done; `code` is the API's word for why."""

    code: ClassVar[str]

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Forbidden(Refused):
    """The actor may not do this."""

    code = "permission_denied"

    def __init__(self, message: str = "You do not have permission to perform this action.") -> None:
        super().__init__(message)


class Unlicensed(Refused):
    """The licence does not cover it."""

    code = "license"


class Conflict(Refused):
    """Work in progress stands in the way; later it may be done."""

    code = "in_progress"


class Changed(Refused):
    """The object is no longer the one that the caller has seen."""

    code = "precondition_failed"

    def __init__(self, message: str = "The object has changed since it was read.") -> None:
        super().__init__(message)
