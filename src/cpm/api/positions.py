"""Where far pages of long lists begin, so that the rows before them are passed over only once.

Whoever reads a list to its end asks for the page that follows the one that he was just given. For a
few seconds it begins where that one ended, even if a record before it has gone meanwhile. This goes
for the order of ids, in which everybody reads who wants all.
"""

import threading

from cpm.api import rows as read
from cpm.api import statements
from cpm.api.statements import Rows
from cpm.kernel import clock

GOOD_FOR_SECONDS = 5.0
_MOST_KEPT = 10_000

# The id with which a page begins, and since when that is known.
_Beginning = tuple[int, float]

_kept: dict[tuple[Rows, int], _Beginning] = {}
_lock = threading.Lock()


def ids_of(rows: Rows, page: slice) -> list[int]:
    """The ids of the rows on a page."""
    beginning = _known(rows, page.start)
    if beginning is None:
        known_at = clock.monotonic()
        found = read.few(statements.every(rows, ("pk",)).part(slice(page.start, page.stop + 1)))
    else:
        first_id, known_at = beginning
        page_and_one = slice(0, page.stop - page.start + 1)
        found = read.few(statements.following(rows, ("pk",)).naming(first_id).part(page_and_one))
    ids = [pk for (pk,) in found]
    _keep(rows, page, ids, known_at)
    return ids[: page.stop - page.start]


def _known(rows: Rows, offset: int) -> _Beginning | None:
    beginning = _kept.get((rows, offset))
    if beginning is None or clock.monotonic() - beginning[1] >= GOOD_FOR_SECONDS:
        return None
    return beginning


def _keep(rows: Rows, page: slice, ids: list[int], known_at: float) -> None:
    """Remember where this page begins and where the next one does."""
    if not statements.are_in_order_of_ids(rows):
        return
    with _lock:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        for offset in (page.start, page.stop):
            if offset - page.start < len(ids):
                _kept[rows, offset] = (ids[offset - page.start], known_at)
