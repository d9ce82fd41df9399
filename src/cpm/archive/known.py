"""What a copy goes on from, and finds again in the repository instead of storing it once more."""

import sys
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cpm.archive import manifests, pages
from cpm.archive.blobs import Place
from cpm.archive.errors import Damaged, NotFound
from cpm.archive.manifests import RETIRED, Manifest
from cpm.archive.pages import Places
from cpm.archive.repository import Repository
from cpm.archive.writer import Base, Known, Nothing
from cpm.kernel.faults import Fault, FaultKind

# Pages that are open at a time: copies go forward, a little out of order.
_MOST_PAGES = 3
# Of other volumes' pages more, since these need not follow each other; some MiB in all.
_MOST_NEAR = 8
# Of each digest in an index so much is in memory: beside a million, one new in 4,000 looks known.
BEGINNING_BYTES = 4


def former(repository: Repository, name: str) -> Manifest:
    """The manifest of an earlier copy; one that was retired meanwhile is read there.

    Raises `NotFound`, `Damaged` and Fault.
    """
    try:
        return repository.manifest(name)
    except NotFound:
        pass
    except Fault as fault:
        if not _may_mean_missing(fault):
            raise
    return repository.manifest(name, prefix=RETIRED)


def going_on_from(
    repository: Repository, manifest: Manifest | None, *, is_compared: bool
) -> tuple[Base, Known]:
    """What to give to a copy that goes on from this one.

    The pages that it changes where AWS compares the two; else the blocks that it may name again.
    """
    if manifest is None:
        return {}, Nothing()
    if is_compared:
        return {each.page: each for each in manifest.pages}, Nothing()
    return {}, Former(repository, manifest)


class Former:
    """The blocks of an earlier copy, each at its own place in the volume.

    A full copy that is given the volume's former one stores only what has changed. The manifest
    has to be read after the copy began (`archive-format.md`, writing, rule 3).
    """

    def __init__(self, repository: Repository, manifest: Manifest) -> None:
        self._repository = repository
        self._pages = {each.page: each for each in manifest.pages}
        self._open: OrderedDict[int, Places] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, block: int, digest: bytes) -> Place | None:
        """As `Known` says."""
        place = self._page(pages.page_of(block)).get(block)
        return place if place is not None and place.digest == digest else None

    def _page(self, number: int) -> Places:
        with self._lock:
            if number not in self._open:
                self._open[number] = self._read(number)
                if len(self._open) > _MOST_PAGES:
                    self._open.popitem(last=False)
            return self._open[number]

    def _read(self, number: int) -> Places:
        found = self._pages.get(number)
        try:
            return self._repository.page(found) if found else {}
        except Damaged:
            return {}  # what cannot be found again is stored again


@dataclass(frozen=True, slots=True)
class Near:
    """What an index has near a block: whose manifest names them, and the places by digests."""

    manifest: str
    places: Mapping[bytes, Place]


class Elsewhere:
    """The blocks that other copies have brought, as an index of them says. Thread-safe.

    Most blocks are new: `beginnings` are the first bytes of all digests in the index, in their
    order, and only what they may have is looked up. Who has one block of a page wants the others
    next, so `look_up` tells of all that are near, or None where the index has no such block.
    """

    def __init__(
        self, repository: Repository, beginnings: bytes, look_up: Callable[[bytes], Near | None]
    ) -> None:
        self._repository = repository
        self._look_up = look_up
        self._beginnings = array("I", beginnings)
        if sys.byteorder == "little":
            self._beginnings.byteswap()
        self._lock = threading.Lock()
        self._open: deque[Near] = deque(maxlen=_MOST_NEAR)
        self._seen: dict[str, bool] = {}

    def find(self, block: int, digest: bytes) -> Place | None:  # noqa: ARG002 - any place will do
        """As `Known` says. Raises what `look_up` raises, and Fault."""
        if not self._may_have(digest):
            return None
        with self._lock:
            near = self._near(digest)
            if near is None or not self._is_there(near.manifest):
                return None
            return near.places.get(digest)

    def _may_have(self, digest: bytes) -> bool:
        beginning = int.from_bytes(digest[:BEGINNING_BYTES])
        at = bisect_left(self._beginnings, beginning)
        return at < len(self._beginnings) and self._beginnings[at] == beginning

    def _near(self, digest: bytes) -> Near | None:
        for near in self._open:
            if digest in near.places:
                return near
        found = self._look_up(digest)
        if found is not None:
            self._open.appendleft(found)
        return found

    def _is_there(self, name: str) -> bool:
        """Whether the manifest that names it is there, now that the copy has begun."""
        if name not in self._seen:
            self._seen[name] = _exists(self._repository, name)
        return self._seen[name]


class Both:
    """What one of two knows: the first is the likelier."""

    def __init__(self, first: Known, second: Known) -> None:
        self._first = first
        self._second = second

    def find(self, block: int, digest: bytes) -> Place | None:
        """As `Known` says."""
        return self._first.find(block, digest) or self._second.find(block, digest)


def _exists(repository: Repository, name: str) -> bool:
    """Whether there is a manifest, as far as who asks may know. Raises Fault."""
    try:
        repository.store.read_range(manifests.PREFIX + name, 0, 1)
    except NotFound:
        return False
    except Fault as fault:
        if not _may_mean_missing(fault):
            raise
        return False
    return True


def _may_mean_missing(fault: Fault) -> bool:
    """Whoever may not list the bucket is told this of what is not there."""
    return fault.kind is FaultKind.DENIED
