"""What is wrong with a form that was sent, to be shown beside its fields."""

from cpm.kernel.invalid import Invalid


def by_field(invalid: Invalid, otherwise: str = "form") -> dict[str, list[str]]:
    """The problems by the names of their fields; what is about no field goes under `otherwise`."""
    faults: dict[str, list[str]] = {}
    for problem in invalid.problems:
        faults.setdefault(problem.field or otherwise, []).append(problem.message)
    return faults
