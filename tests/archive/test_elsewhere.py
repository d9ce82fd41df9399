"""What other volumes have brought is named again: found by an index, a page at a time."""

import pytest

from cpm.archive import repository, writer
from cpm.archive.blobs import digest_of
from cpm.archive.known import BEGINNING_BYTES, Elsewhere, Near
from cpm.archive.manifests import Manifest
from cpm.archive.repository import Repository
from tests.archive.volumes import Bucket, Copier, came_back, noise, subject

BLOCKS = {block: noise(block) for block in range(6)}


@pytest.fixture
def archive() -> Repository:
    return repository.create(Bucket())


@pytest.fixture
def first(archive: Repository) -> Manifest:
    """The copy that has brought the blocks."""
    return Copier(archive).copy(BLOCKS)


class Index:
    """All blocks of one copy, and what was looked up."""

    def __init__(self, archive: Repository, manifest: Manifest) -> None:
        places = archive.page(manifest.pages[0]).values()
        self.near = Near(manifest.name, {place.digest: place for place in places})
        self.asked: list[bytes] = []

    @property
    def beginnings(self) -> bytes:
        return b"".join(sorted(digest[:BEGINNING_BYTES] for digest in self.near.places))

    def look_up(self, digest: bytes) -> Near | None:
        self.asked.append(digest)
        return self.near if digest in self.near.places else None

    def elsewhere(self, archive: Repository) -> Elsewhere:
        return Elsewhere(archive, self.beginnings, self.look_up)


def stored(archive: Repository) -> int:
    return sum(each.size for each in archive.store.list("packs/"))


def test_blocks_come_with_their_neighbours_and_new_ones_are_not_looked_up(
    archive: Repository, first: Manifest
) -> None:
    index = Index(archive, first)
    before = stored(archive)
    twin = {100 + block: content for block, content in BLOCKS.items()} | {7: noise(7), 9: noise(9)}
    copier = Copier(archive, known=index.elsewhere(archive))
    second = copier.copy(twin, subject("snap-2"))
    assert came_back(archive, second) == twin
    assert index.asked == [digest_of(BLOCKS[0])]
    assert stored(archive) - before < 3 * len(BLOCKS[0])


def test_what_only_begins_like_a_block_is_stored(archive: Repository, first: Manifest) -> None:
    index = Index(archive, first)
    known = next(iter(index.near.places))
    alike = known[:BEGINNING_BYTES] + bytes(len(known) - BEGINNING_BYTES)
    elsewhere = index.elsewhere(archive)
    assert elsewhere.find(0, alike) is None
    assert elsewhere.find(0, known) == index.near.places[known]
    assert index.asked == [alike, known]


def test_blocks_of_a_manifest_that_is_gone_are_not_named(
    archive: Repository, first: Manifest
) -> None:
    index = Index(archive, first)
    elsewhere = index.elsewhere(archive)
    writer.retire(archive, first.name)
    assert [elsewhere.find(0, digest) for digest in index.near.places] == [None] * len(BLOCKS)
    # It is not asked for again and again.
    assert len(index.asked) == 1
