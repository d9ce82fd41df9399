"""What is archived comes back bit by bit, and costs what it should."""

from pathlib import Path

import pytest

from cpm.archive import packs, reader, repository
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.errors import ArchiveError, NameTaken, NotAnArchive, WrongKey
from cpm.archive.pages import PAGE_BLOCKS
from cpm.archive.repository import Repository
from cpm.archive.store import MemoryStore
from tests.archive.volumes import Blocks, Copier, came_back, noise, subject, text

ZEROS = bytes(BLOCK_BYTES)


@pytest.fixture(params=[None, "correct horse"], ids=["plain", "encrypted"])
def archive(request: pytest.FixtureRequest) -> Repository:
    """A repository of each kind."""
    return repository.create(MemoryStore(), passphrase=request.param)


def stored(archive: Repository) -> int:
    """The bytes of all packs."""
    return sum(each.size for each in archive.store.list(packs.PREFIX))


def test_every_kind_of_block_comes_back(archive: Repository) -> None:
    blocks: Blocks = {0: noise(0), 1: text(1), 2: ZEROS, 7: noise(0), 4095: text(2), 4096: noise(3)}
    manifest = Copier(archive).copy(blocks, subject(size_gib=3))
    expected = {block: content for block, content in blocks.items() if content != ZEROS}
    assert came_back(archive, manifest) == expected
    assert manifest.blocks == len(expected)
    assert archive.manifest(manifest.name) == manifest


def test_an_image_is_as_large_as_the_volume_and_sparse(archive: Repository, tmp_path: Path) -> None:
    manifest = Copier(archive).copy({3: noise(1), 2047: text(1)})
    image = tmp_path / "disk.img"
    assert reader.restore(archive, manifest, image) == []
    assert image.stat().st_size == 2**30
    with image.open("rb") as file:
        for block, expected in ((2, ZEROS), (3, noise(1)), (4, ZEROS), (2047, text(1))):
            file.seek(block * BLOCK_BYTES)
            assert file.read(BLOCK_BYTES) == expected
    assert image.stat().st_blocks * 512 < 4 * BLOCK_BYTES
    with pytest.raises(FileExistsError):
        reader.restore(archive, manifest, image)


def test_nothing_and_zeros_cost_nothing(archive: Repository) -> None:
    manifest = Copier(archive).copy(dict.fromkeys(range(100), ZEROS))
    assert (manifest.pages, stored(archive)) == ([], 0)
    assert came_back(archive, manifest) == {}


def test_the_same_again_in_one_pack_costs_a_line(archive: Repository) -> None:
    Copier(archive).copy({block: noise(1) for block in range(500)}, subject(size_gib=1))
    assert stored(archive) < 2 * BLOCK_BYTES


def test_twenty_increments_each_come_back_as_they_were(archive: Repository) -> None:
    copier = Copier(archive)
    volume: dict[int, bytes] = {block: text(block) for block in range(0, 40, 2)}
    made = [(copier.copy(volume), dict(volume))]
    for turn in range(20):
        changes: dict[int, bytes | None] = {
            turn: noise(turn),
            2 * turn: None,
            PAGE_BLOCKS + turn: text(turn),
        }
        for block, content in changes.items():
            volume.pop(block, None)
            if content is not None:
                volume[block] = content
        made.append((copier.copy(changes, subject(size_gib=3), made[-1][0]), dict(volume)))
    for manifest, expected in made:
        assert came_back(archive, manifest) == expected


def test_an_increment_stores_what_changed_and_shares_the_pages_that_did_not(
    archive: Repository,
) -> None:
    copier = Copier(archive)
    first = copier.copy({0: noise(0), PAGE_BLOCKS: noise(1)}, subject(size_gib=3))
    before = stored(archive)
    second = copier.copy({0: noise(2)}, subject("snap-2", 3), first)
    assert stored(archive) - before < BLOCK_BYTES + 1_000
    assert second.pages[1] == first.pages[1]
    assert second.based_on == first.name
    assert came_back(archive, second) == {0: noise(2), PAGE_BLOCKS: noise(1)}


def test_a_page_that_becomes_empty_is_named_no_more(archive: Repository) -> None:
    copier = Copier(archive)
    first = copier.copy({0: noise(0), PAGE_BLOCKS: noise(1)}, subject(size_gib=3))
    second = copier.copy({PAGE_BLOCKS: None}, subject("snap-2", 3), first)
    assert [each.page for each in second.pages] == [0]


def test_a_copy_goes_on_after_every_pack_and_stores_no_pack_twice(archive: Repository) -> None:
    blocks = {block: noise(block) for block in range(10)} | {PAGE_BLOCKS + 1: text(1)}
    copier = Copier(archive, pack_bytes=2 * BLOCK_BYTES)
    copier.write(blocks)
    whole = list(copier.checkpoints)
    for died_after in range(len(whole)):
        copier.checkpoints = whole[: died_after + 1]
        before = stored(archive)
        again = copier.writer(after=whole[died_after])
        rest = {block: content for block, content in blocks.items() if not again.skip(block)}
        for block, content in rest.items():
            again.write(block, content)
        again.finish()
        about = subject(f"snap-{died_after}", 3)
        assert came_back(archive, copier.publish(copier.pages(), about)) == blocks
        assert stored(archive) - before < (len(rest) + 1) * BLOCK_BYTES


def test_copies_are_found_by_snapshot_the_newest_first(archive: Repository) -> None:
    copier = Copier(archive)
    copier.copy({0: noise(0)}, subject("snap-1"))
    newest = copier.copy({0: noise(1)}, subject("snap-1"))
    other = copier.copy({0: noise(2)}, subject("snap-12"))
    assert reader.newest(archive, "snap-1") == newest.name
    assert reader.newest(archive, other.name) == other.name
    with pytest.raises(ArchiveError, match="no copy of snap-3"):
        reader.newest(archive, "snap-3")


def test_a_copy_takes_nobodys_name(archive: Repository) -> None:
    copier = Copier(archive)
    copier.copy({0: noise(0)})
    began = copier.now
    copier.now = began.replace(second=began.second - 1)
    with pytest.raises(NameTaken):
        copier.copy({0: noise(1)})


def test_a_repository_opens_with_its_passphrase_alone() -> None:
    store = MemoryStore()
    made = repository.create(store, passphrase="correct horse")
    assert repository.open_(store, passphrase="correct horse").key == made.key
    for wrong in (None, "", "battery staple"):
        with pytest.raises(WrongKey):
            repository.open_(store, passphrase=wrong)
    with pytest.raises(NameTaken):
        repository.create(store, passphrase="correct horse")
    assert b"correct horse" not in b"".join(content for content, _ in store.objects.values())


def test_an_encrypted_repository_shows_nothing_of_what_is_in_it() -> None:
    archive = repository.create(MemoryStore(), passphrase="correct horse")
    Copier(archive).copy({0: text(1), 1: noise(1)})
    assert isinstance(archive.store, MemoryStore)
    everything = b"".join(content for content, _ in archive.store.objects.values())
    for secret in (b"line 1 of a log", noise(1)[:64], b"vol-1"):
        assert secret not in everything


def test_what_is_no_repository_or_a_newer_one_is_refused() -> None:
    store = MemoryStore()
    with pytest.raises(NotAnArchive):
        repository.open_(store)
    repository.create(store)
    description = store.read("repository.json").replace(b'"version":1', b'"version":2')
    store.write("repository.json", description)
    with pytest.raises(NotAnArchive, match="version 2"):
        repository.open_(store)
