"""Sizes, as people read them."""

_STEP = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def shown(size_bytes: float) -> str:
    """A number of bytes in the largest unit of which it has one, as in `1.5 MiB`."""
    size, unit = size_bytes / _STEP, _UNITS[0]
    for larger in _UNITS[1:]:
        if size < _STEP:
            break
        size, unit = size / _STEP, larger
    return f"{size:.1f} {unit}"
