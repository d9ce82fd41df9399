"""Amounts of data and time, as people read them."""

_STEP = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def size(size_bytes: float) -> str:
    """A number of bytes in the largest unit of which it has one, as in `1.5 MiB`."""
    amount, unit = size_bytes / _STEP, _UNITS[0]
    for larger in _UNITS[1:]:
        if amount < _STEP:
            break
        amount, unit = amount / _STEP, larger
    return f"{amount:.1f} {unit}"


def wait(seconds: float | None) -> str:
    """How long something may still take; None where nobody knows."""
    return "a while" if seconds is None else f"about {round(seconds / 60) or 1} minutes"
