"""How this layer changes moto's classes: loudly, when moto is no longer as expected."""

from typing import Any


class MotoChanged(RuntimeError):
    """moto lacks what a correction of ours replaces; the correction needs another look."""


def replace(owner: Any, name: str, replacement: Any) -> None:
    """Put `replacement` where `owner` has `name`; raises MotoChanged when it has none."""
    if not hasattr(owner, name):
        raise MotoChanged(f"{owner!r} has no {name}")
    setattr(owner, name, replacement)


def extend(owner: Any, name: str, addition: Any) -> None:
    """Give `owner` an attribute of ours; raises MotoChanged when it has one by that name."""
    if hasattr(owner, name) and getattr(owner, name) is not addition:
        raise MotoChanged(f"{owner!r} has its own {name}")
    setattr(owner, name, addition)
