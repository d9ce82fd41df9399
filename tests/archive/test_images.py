"""Images that were not finished are gone on with, and nobody else's file is touched."""

from pathlib import Path

import pytest

from cpm.archive import reader, repository
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.repository import Repository
from cpm.archive.store import MemoryStore
from cpm.kernel.faults import Fault, FaultKind
from tests.archive.volumes import Copier, noise, subject

BLOCKS = {block: noise(block) for block in range(0, 400, 20)}


class Failing(MemoryStore):
    """A store that counts what is read in part, and fails when it has been read enough."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.enough = 0, 10**9

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        self.reads += 1
        if self.reads > self.enough:
            raise Fault(FaultKind.TRANSIENT, "the network is away")
        return super().read_range(name, offset, length)


@pytest.fixture
def store() -> Failing:
    return Failing()


@pytest.fixture
def archive(store: Failing) -> Repository:
    return repository.create(store)


def test_an_image_that_was_interrupted_goes_on(
    archive: Repository, store: Failing, tmp_path: Path
) -> None:
    manifest = Copier(archive, pack_bytes=1).copy(BLOCKS)
    image = tmp_path / "disk.img"
    store.reads, store.enough = 0, 12
    with pytest.raises(Fault, match="network"):
        reader.restore(archive, manifest, image, threads=1)
    store.reads, store.enough = 0, 10**9
    assert reader.restore(archive, manifest, image, threads=1) == []
    # The page, and the blocks that were not there yet.
    assert 1 < store.reads < 1 + len(BLOCKS)
    with image.open("rb") as file:
        for block, content in BLOCKS.items():
            file.seek(block * BLOCK_BYTES)
            assert file.read(BLOCK_BYTES) == content
    assert [each.name for each in tmp_path.iterdir()] == ["disk.img"]


def test_what_was_spoilt_since_is_read_again(archive: Repository, tmp_path: Path) -> None:
    manifest = Copier(archive).copy(BLOCKS)
    image, note = tmp_path / "disk.img", tmp_path / "disk.img.restoring"
    reader.restore(archive, manifest, image)
    note.write_text(manifest.name)
    with image.open("r+b") as file:
        file.write(b"spoilt")
    assert reader.restore(archive, manifest, image) == []
    with image.open("rb") as file:
        assert file.read(BLOCK_BYTES) == BLOCKS[0]


def test_an_image_of_another_copy_is_left_alone(archive: Repository, tmp_path: Path) -> None:
    copier = Copier(archive)
    manifest, other = copier.copy(BLOCKS), copier.copy({0: noise(1)}, subject("snap-2"))
    image = tmp_path / "disk.img"
    image.write_bytes(b"begun")
    (tmp_path / "disk.img.restoring").write_text(other.name)
    with pytest.raises(FileExistsError):
        reader.restore(archive, manifest, image)
    assert image.read_bytes() == b"begun"
