"""Makes the test vectors again: `python -m tests.archive.vectors`. Only for a new version."""

from pathlib import Path

from cpm.archive import repository
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.pages import PAGE_BLOCKS
from cpm.archive.store import MemoryStore
from tests.archive.volumes import Blocks, Copier, noise, subject, text

DIRECTORY = Path(__file__).parent / "vectors"
PASSPHRASE = "correct horse battery staple"

FIRST: Blocks = {0: text(0), 1: bytes(BLOCK_BYTES), 2: noise(2), PAGE_BLOCKS: text(1)}
CHANGES: Blocks = {0: None, 3: text(3), 2 * PAGE_BLOCKS + 5: text(0)}


def make(name: str, passphrase: str | None) -> None:
    """A repository with a full copy and an increment."""
    store = MemoryStore()
    copier = Copier(repository.create(store, passphrase=passphrase), pack_bytes=BLOCK_BYTES)
    copier.pack_bytes = BLOCK_BYTES // 8
    first = copier.copy(FIRST, subject("snap-1", 3))
    copier.copy(CHANGES, subject("snap-2", 5), first)
    for object_name, (content, _) in store.objects.items():
        path = DIRECTORY / name / object_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    make("plain", None)
    make("encrypted", PASSPHRASE)
