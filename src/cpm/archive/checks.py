"""Checking: whether what is stored is what was written, and who suffers where it is not."""

from collections.abc import Iterator
from dataclasses import dataclass

from cpm.archive import packs
from cpm.archive.blobs import Place, decode
from cpm.archive.errors import Damaged, NotFound
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.repository import Repository


@dataclass
class Checked:
    """What a check has looked at."""

    manifests: int = 0
    blocks: int = 0
    packs: int = 0
    read_bytes: int = 0


@dataclass(frozen=True)
class Portion:
    """Which packs to read whole: each is in one of `of` portions. Of no portions it is none."""

    number: int
    of: int

    def has(self, pack: bytes) -> bool:
        """Whether a pack is in it. Ids are random, so portions are alike in size."""
        return self.of > 0 and int.from_bytes(pack[:8], "big") % self.of == self.number


NOTHING = Portion(0, 0)
EVERYTHING = Portion(0, 1)


class Check:
    """One check of a repository."""

    def __init__(self, repository: Repository, *, read: Portion = NOTHING) -> None:
        self.checked = Checked()
        self._repository = repository
        self._read = read
        self._sizes: dict[bytes, int] = {}
        self._bad: set[tuple[bytes, int]] = set()
        self._good_pages: set[Place] = set()

    def run(self) -> Iterator[Damaged]:
        """Read and verify the portion of packs, then follow every manifest to its blocks.

        Each damage names the copy and the block that suffer.
        """
        self._look_at_packs()
        for name in self._repository.names():
            self.checked.manifests += 1
            yield from self._manifest(name)

    def _look_at_packs(self) -> None:
        for stored in self._repository.store.list(packs.PREFIX):
            pack = packs.id_of(stored.name)
            if pack is None:
                continue
            self._sizes[pack] = stored.size
            if self._read.has(pack):
                self.checked.packs += 1
                self.checked.read_bytes += stored.size
                self._bad.update((pack, at) for at in damaged_blobs(self._repository, pack))

    def _manifest(self, name: str) -> Iterator[Damaged]:
        try:
            manifest = self._repository.manifest(name)
        except (Damaged, NotFound) as error:
            yield Damaged(f"manifest {name}", str(error))
            return
        for found in manifest.pages:
            # Copies share pages; one that is whole needs one look.
            if found.place not in self._good_pages:
                damages = list(self._page(manifest, found))
                if not damages:
                    self._good_pages.add(found.place)
                yield from damages

    def _page(self, manifest: Manifest, found: PagePlace) -> Iterator[Damaged]:
        try:
            places = self._repository.page(found)
        except Damaged as damage:
            yield Damaged(f"{manifest.name} {damage.what}", damage.why)
            return
        for block, place in places.items():
            self.checked.blocks += 1
            why = self._wrong(place)
            if why:
                yield Damaged(f"{manifest.name} block {block}", why)

    def _wrong(self, place: Place) -> str:
        name = packs.name_of(place.pack)
        size = self._sizes.get(place.pack)
        if size is None:
            return f"{name} is gone"
        if place.offset + place.length > size:
            return f"{name} ends before it"
        if (place.pack, place.offset) in self._bad or (place.pack, 0) in self._bad:
            return f"{name} is damaged there"
        return ""


def damaged_blobs(repository: Repository, pack: bytes) -> Iterator[int]:
    """The offsets in a pack at which it is not what its table says; 0 for the whole of it."""
    try:
        content = repository.store.read(packs.name_of(pack))
        found = packs.entries(content, pack, repository.key)
    except (Damaged, NotFound):
        yield 0
        return
    seal = repository.seal(pack)
    for each in found:
        place = each.place
        try:
            stored = content[place.offset : place.offset + place.length]
            decode(place, seal.open(stored, place.offset), each.kind.name)
        except Damaged:
            yield place.offset
