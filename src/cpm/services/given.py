"""What somebody has given for a write: the values that can be used, and what is wrong with the
rest. Faults are collected, so that all of them are told at once.
"""

from typing import Any

from cpm.kernel.invalid import Invalid, Problem


class Given(dict[str, Any]):
    """Read values by field. A field that was left out, or has a problem, is not in it."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        super().__init__(values or {})
        self.problems: list[Problem] = []

    def refuse(self, field: str, code: str, message: str) -> None:
        """Note a problem of `field`; an empty name stands for the whole."""
        self.pop(field, None)
        self.problems.append(Problem(code, message, field))

    def check(self) -> None:
        """Raise `Invalid` with every problem, if there is one."""
        if self.problems:
            raise Invalid(*self.problems)
