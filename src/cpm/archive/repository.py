"""A repository: a store, its key, and the ways from a manifest to the blocks."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from cpm.archive import keys, manifests, packs, pages, sealing
from cpm.archive.blobs import BLOCK_BYTES, Place, decode
from cpm.archive.errors import Damaged, NotAnArchive, NotFound
from cpm.archive.keys import Kms, Means, Passphrase
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.sealing import CIPHER, Key, Seal
from cpm.archive.store import Store
from cpm.kernel import clock

DESCRIPTION = "repository.json"
KEYS = keys.PREFIX
# What somebody has put there to see whether he can.
PROBES = "access-check-"
# One request for neighbours that are wanted together, as long as it stays this small.
_READ_BYTES = 8 * 2**20


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """`repository.json`."""

    format: str = manifests.FORMAT
    version: int = manifests.VERSION
    id: str
    created_at: str
    block_size: int = BLOCK_BYTES
    encryption: str | None = None


@dataclass(frozen=True, eq=False)
class Repository:
    """An open repository. Thread-safe."""

    store: Store
    id: str
    key: Key = field(repr=False)

    def manifest(self, name: str, *, prefix: str = manifests.PREFIX) -> Manifest:
        """One manifest; raises `NotFound` and `Damaged`."""
        return manifests.decode(self.store.read(prefix + name), name, self.key)

    def names(
        self,
        beginning: str = "",
        *,
        prefix: str = manifests.PREFIX,
        with_hidden: bool = False,
    ) -> Iterator[str]:
        """The names of manifests that begin so, the oldest of each snapshot first."""
        for stored in self.store.list(prefix + beginning, with_hidden=with_hidden):
            yield stored.name.removeprefix(prefix)

    def page(self, found: PagePlace) -> pages.Places:
        """What a page says; raises `Damaged`, naming the page."""
        what = f"page {found.page}"
        ((_, content),) = self.blobs([(found.page, found.place)], what="page")
        if isinstance(content, Damaged):
            raise content
        places = pages.decode(content, found.page, what)
        if len(places) != found.blocks:
            raise Damaged(what, "it has not as many blocks as the manifest says")
        return places

    def blobs(
        self, wanted: Iterable[tuple[int, Place]], *, what: str = "block"
    ) -> Iterator[tuple[int, bytes | Damaged]]:
        """Each wanted blob, verified, or what is wrong with it; in the order asked for."""
        for run in _runs(wanted):
            yield from self._run(run, what)

    def seal(self, pack: bytes) -> Seal:
        """The seal of a pack's blobs."""
        return self.key.seal(pack, sealing.PACK)

    def _run(
        self, run: list[tuple[int, Place]], what: str
    ) -> Iterator[tuple[int, bytes | Damaged]]:
        first, last = run[0][1], run[-1][1]
        name, begin = packs.name_of(first.pack), first.offset
        try:
            content = self.store.read_range(name, begin, last.offset + last.length - begin)
        except NotFound:
            yield from (
                (number, Damaged(f"{what} {number}", f"{name} is gone")) for number, _ in run
            )
            return
        seal = self.seal(first.pack)
        for number, place in run:
            at = place.offset - begin
            try:
                opened = seal.open(content[at : at + place.length], place.offset)
                yield number, decode(place, opened, f"{what} {number}")
            except Damaged as damage:
                yield number, Damaged(f"{what} {number}", f"{damage.why}, in {name}")


def create(store: Store, *, passphrase: str | None = None, kms: Kms | None = None) -> Repository:
    """Make a repository in an empty store, encrypted if there is anything to wrap its key with.

    With both, either opens it. Raises `NameTaken` where there is one already, and Fault.
    """
    identity = str(uuid.uuid4())
    means = _means(passphrase, kms)
    key = Key.new() if means else Key()
    for each in means:
        keys.add(store, key, each, identity)
    description = Description(
        id=identity,
        created_at=manifests.timestamp(clock.now()),
        encryption=CIPHER if key.secret else None,
    )
    # Last, since it makes the repository one; of two at once the second loses.
    store.write(DESCRIPTION, msgspec.json.encode(description), only_new=True)
    return Repository(store, identity, key)


def open_(store: Store, *, passphrase: str | None = None, kms: Kms | None = None) -> Repository:
    """The repository in a store. Raises `NotAnArchive`, `WrongKey`, and Fault."""
    description = _description(store)
    if description.encryption is None:
        return Repository(store, description.id, Key())
    key = keys.open_(store, _means(passphrase, kms), description.id)
    return Repository(store, description.id, key)


def unhide(store: Store) -> int:
    """Bring back what opens a repository, where delete markers hide it; how much that was."""
    names = [each.name for each in store.list(KEYS, with_hidden=True)]
    return sum(map(store.unhide, [*names, DESCRIPTION]))


def _means(passphrase: str | None, kms: Kms | None) -> list[Means]:
    return [*([Passphrase(passphrase)] if passphrase is not None else []), *([kms] if kms else [])]


def _description(store: Store) -> Description:
    try:
        description = msgspec.json.decode(store.read(DESCRIPTION), type=Description)
    except NotFound:
        raise NotAnArchive("There is no repository here.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotAnArchive(f"{DESCRIPTION} is damaged: {error}.") from None
    known = (manifests.FORMAT, manifests.VERSION, BLOCK_BYTES)
    if (description.format, description.version, description.block_size) != known:
        raise NotAnArchive(f"The repository is of version {description.version}; this reads 1.")
    if description.encryption not in (None, CIPHER):
        raise NotAnArchive(f"The repository is encrypted by {description.encryption}.")
    return description


def _runs(wanted: Iterable[tuple[int, Place]]) -> Iterator[list[tuple[int, Place]]]:
    """Neighbours in one pack, as far as one request should go."""
    run: list[tuple[int, Place]] = []
    for each in wanted:
        if run and not _continues(run, each[1]):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def _continues(run: list[tuple[int, Place]], place: Place) -> bool:
    first, last = run[0][1], run[-1][1]
    end = place.offset + place.length
    return (
        place.pack == last.pack
        and place.offset == last.offset + last.length
        and end - first.offset <= _READ_BYTES
    )
