"""What is wrong with a value that somebody sent.

The rules of the kernel raise it; whoever speaks to the sender prints its problems, which carry the
codes of the API's errors.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a value; `field` names the part it is about, and is empty for the whole."""

    code: str
    message: str
    field: str = ""


class Invalid(ValueError):
    """A value breaks a rule; `problems` holds every way in which it does, at least one."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(_sentence(problem) for problem in problems))
        self.problems = problems


def _sentence(problem: Problem) -> str:
    return f"{problem.field}: {problem.message}" if problem.field else problem.message
