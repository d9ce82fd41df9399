"""Sizes are told in the largest unit of which there is one."""

import pytest

from cpm.kernel import sizes


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0.0 KiB"),
        (1023, "1.0 KiB"),
        (1024 * 1024 - 1, "1024.0 KiB"),
        (1572864, "1.5 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (64 * 2**40, "64.0 TiB"),
        (2048 * 2**40, "2048.0 TiB"),
    ],
)
def test_sizes_are_told_in_the_largest_unit_of_which_there_is_one(
    size_bytes: int, shown: str
) -> None:
    assert sizes.shown(size_bytes) == shown
