"""What a copy goes on from, and finds again in the repository instead of storing it once more."""

import threading
from collections import OrderedDict

from cpm.archive import pages
from cpm.archive.blobs import Place
from cpm.archive.errors import Damaged, NotFound
from cpm.archive.manifests import RETIRED, Manifest
from cpm.archive.pages import Places
from cpm.archive.repository import Repository
from cpm.archive.writer import Base, Known, Nothing
from cpm.kernel.faults import Fault, FaultKind

# Pages that are open at a time: copies go forward, a little out of order.
_MOST_PAGES = 3


def former(repository: Repository, name: str) -> Manifest:
    """The manifest of an earlier copy; one that was retired meanwhile is read there.

    Raises `NotFound`, `Damaged` and Fault.
    """
    try:
        return repository.manifest(name)
    except NotFound:
        pass
    except Fault as fault:
        # Whoever may not list the bucket is told this of what is not there.
        if fault.kind is not FaultKind.DENIED:
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
