"""Amounts are told as people read them."""

import pytest

from cpm.kernel import amounts


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
    assert amounts.size(size_bytes) == shown


@pytest.mark.parametrize(
    ("seconds", "told"), [(None, "a while"), (2, "about 1 minutes"), (3600, "about 60 minutes")]
)
def test_a_wait_is_told_in_minutes_where_it_is_known(seconds: float | None, told: str) -> None:
    assert amounts.wait(seconds) == told
