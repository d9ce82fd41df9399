"""Checking: whether what is stored is what was written, and who suffers where it is not."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from cpm.archive import manifests, packs, pages
from cpm.archive.blobs import Kind, Place, decode
from cpm.archive.errors import Damaged, NotFound
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.pages import Places
from cpm.archive.repository import Repository
from cpm.archive.store import HIDDEN, Stored
from cpm.archive.tables import Tables

# A pack and an offset in it, and what is wrong there.
At = tuple[bytes, int]
Bad = Mapping[At, str]
ALL_OF_IT = 0
_IDS = 2**64


@dataclass
class Checked:
    """What a check has looked at."""

    manifests: int = 0
    blocks: int = 0
    packs: int = 0
    read_bytes: int = 0
    brought_back: int = 0


@dataclass(frozen=True)
class Portion:
    """Which packs to read whole: each is in one of `of` portions. Of no portions it is none.

    Ids are random, so portions are alike in size.
    """

    number: int
    of: int

    def has(self, pack: bytes) -> bool:
        """Whether a pack is in it."""
        return self.of > 0 and int.from_bytes(pack[:8], "big") * self.of // _IDS == self.number

    def prefixes(self) -> Iterator[str]:
        """What the names of its packs begin with; those of others may, too."""
        if self.of:
            first, end = self.number * 256 // self.of, -(-(self.number + 1) * 256 // self.of)
            yield from (f"{packs.PREFIX}{shelf:02x}/" for shelf in range(first, end))


NOTHING = Portion(0, 0)
EVERYTHING = Portion(0, 1)

Progress = Callable[[Checked], None]


class Check:
    """One check of a repository. It remembers some bytes for each pack and page."""

    def __init__(
        self,
        repository: Repository,
        *,
        read: Portion = NOTHING,
        repair: bool = False,
        progress: Progress = lambda _checked: None,
    ) -> None:
        """`progress` is called after each pack that was read, and each copy.

        To `repair` is to bring back what others' delete markers hide.
        """
        self.checked = Checked()
        self._repair = repair
        self._repository = repository
        self._read = read
        self._progress = progress
        self._tables = Tables(repository)
        self._sizes: dict[bytes, int] = {}
        self._bad: dict[At, str] = {}

    def run(self) -> Iterator[Damaged]:
        """Read and verify the portion of packs, then follow every manifest to its blocks.

        Each damage names the copy and the block that suffer.
        """
        self._look_at_packs()
        follow = Follow(self._repository, self._wrong, self.checked, self._tables)
        for stored in list(self._repository.store.list(manifests.PREFIX, with_hidden=True)):
            name = stored.name.removeprefix(manifests.PREFIX)
            if self._can_be_read(stored):
                yield from follow.manifest(name)
            else:
                yield Damaged(f"manifest {name}", HIDDEN)
            self._progress(self.checked)

    def _look_at_packs(self) -> None:
        for stored in self._repository.store.list(packs.PREFIX, with_hidden=True):
            pack = packs.id_of(stored.name)
            if pack is None:
                continue
            if not self._can_be_read(stored):
                self._bad[pack, ALL_OF_IT] = f"{stored.name} is there, but {HIDDEN}"
                continue
            self._sizes[pack] = stored.size
            if self._read.has(pack):
                self._bad |= _read(self._repository, stored, pack, self.checked, self._tables)
                self._progress(self.checked)

    def _can_be_read(self, stored: Stored) -> bool:
        if stored.is_hidden and self._repair:
            self.checked.brought_back += self._repository.store.unhide(stored.name)
            return True
        return not stored.is_hidden

    def _wrong(self, place: Place) -> str:
        found = at_fault(self._bad, place)
        if found:
            return self._bad[found]
        name = packs.name_of(place.pack)
        size = self._sizes.get(place.pack)
        if size is None:
            return f"{name} is gone"
        return f"{name} ends before it" if place.offset + place.length > size else ""


class Follow:
    """Manifests followed to their blocks; copies share pages, and one that is whole needs one look.

    `wrong` says what is wrong with a place.
    """

    def __init__(
        self,
        repository: Repository,
        wrong: Callable[[Place], str],
        checked: Checked,
        tables: Tables,
    ) -> None:
        self._repository = repository
        self._wrong = wrong
        self._checked = checked
        self._tables = tables
        self._good_pages: set[Place] = set()

    def manifest(self, name: str) -> Iterator[Damaged]:
        """What of one copy is lost."""
        self._checked.manifests += 1
        try:
            manifest = self._repository.manifest(name)
        except NotFound:
            return  # retired since it was listed
        except Damaged as error:
            yield Damaged(f"manifest {name}", str(error))
            return
        for found in manifest.pages:
            if found.place not in self._good_pages:
                damages = list(self._page(manifest, found))
                if not damages:
                    self._good_pages.add(found.place)
                yield from damages

    def _page(self, manifest: Manifest, found: PagePlace) -> Iterator[Damaged]:
        why = self._wrong(found.place)
        try:
            places = self._repository.page(found)
        except Damaged as damage:
            yield Damaged(f"{manifest.name} {damage.what}", why or damage.why)
            return
        # A page that is bad and can be read may name what is not there.
        misnamed = dict(self._misnamed(places)) if why else {}
        if why and not misnamed:
            yield Damaged(f"{manifest.name} page {found.page}", why)
            return
        for block, place in places.items():
            self._checked.blocks += 1
            lost = misnamed.get(block) or self._wrong(place)
            if lost:
                yield Damaged(f"{manifest.name} block {block}", lost)

    def _misnamed(self, places: Places) -> Iterator[tuple[int, str]]:
        for block, place in places.items():
            if self._tables.deny(place):
                yield block, f"its page names what {packs.name_of(place.pack)} does not have"


def read(repository: Repository, portion: Portion, checked: Checked) -> Bad:
    """Read a portion of the packs, and say what is not what tables tell."""
    bad: dict[At, str] = {}
    tables = Tables(repository)
    for prefix in portion.prefixes():
        for stored in repository.store.list(prefix):
            pack = packs.id_of(stored.name)
            if pack is not None and portion.has(pack):
                bad |= _read(repository, stored, pack, checked, tables)
    return bad


def who_suffers(
    repository: Repository,
    bad: Bad,
    lose: Callable[[Damaged], None],
    names: Iterable[str] | None = None,
) -> set[At]:
    """Tell which blocks of copies are lost, and say what of it is because of what is bad.

    Of the copies of these names, or of all.
    """
    guilty: set[At] = set()

    def wrong(place: Place) -> str:
        found = at_fault(bad, place)
        guilty.update([found] if found else [])
        return bad[found] if found else ""

    follow = Follow(repository, wrong, Checked(), Tables(repository))
    for name in list(repository.names(with_hidden=True)) if names is None else names:
        for damage in follow.manifest(name):
            lose(damage)
    return guilty


def at_fault(bad: Bad, place: Place) -> At | None:
    """Why a place cannot be read: what is bad there, or the whole pack."""
    candidates = ((place.pack, place.offset), (place.pack, ALL_OF_IT))
    return next((each for each in candidates if each in bad), None)


def damaged_blobs(repository: Repository, pack: bytes, tables: Tables) -> Iterator[tuple[int, str]]:
    """The offsets in a pack at which it is not what its table says; 0 for the whole of it.

    And those of pages that name what the tables of other packs do not say.
    """
    name = packs.name_of(pack)
    try:
        content = repository.store.read(name)
        found = packs.entries(content, pack, repository.key)
    except NotFound:
        yield ALL_OF_IT, f"{name} is gone"
        return
    except Damaged as damage:
        yield ALL_OF_IT, f"{name} is damaged: {damage.why}"
        return
    seal = repository.seal(pack)
    for each in found:
        place = each.place
        try:
            stored = content[place.offset : place.offset + place.length]
            blob = decode(place, seal.open(stored, place.offset), each.kind.name)
            if each.kind is Kind.PAGE:
                _compare(pages.decode(blob, 0, each.kind.name), tables)
        except Damaged as damage:
            yield place.offset, f"{name} is damaged there: {damage.why}"


def _compare(named: Places, tables: Tables) -> None:
    """Raise `Damaged` for a page that names what tables do not."""
    misnamed = sum(1 for place in named.values() if tables.deny(place))
    if misnamed:
        raise Damaged(Kind.PAGE.name, f"{misnamed} of its blocks are not where it says")


def _read(
    repository: Repository, stored: Stored, pack: bytes, checked: Checked, tables: Tables
) -> dict[At, str]:
    checked.packs += 1
    checked.read_bytes += stored.size
    return {(pack, offset): why for offset, why in damaged_blobs(repository, pack, tables)}
