"""Whoever has the format's page alone reads what is archived, today's and that of years ago."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpm.archive import reader, repository
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.store import MemoryStore
from tests.archive.vectors import CHANGES, DIRECTORY, FIRST, PASSPHRASE

TOOL = Path(__file__).parents[2] / "tools" / "read_archive.py"
EXPECTED = {
    "snap-1": {block: each for block, each in FIRST.items() if each and any(each)},
    "snap-2": {block: each for block, each in ({**FIRST, **CHANGES}).items() if each and any(each)},
}

vectors = pytest.mark.parametrize(
    ("name", "passphrase"), [("plain", None), ("encrypted", PASSPHRASE)]
)


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    """The reader that shares no code with the server."""
    return runpy.run_path(str(TOOL))


@vectors
@pytest.mark.parametrize("snapshot", ["snap-1", "snap-2"])
def test_a_reader_written_from_the_format_reads_the_vectors(
    tool: dict[str, Any], name: str, passphrase: str | None, snapshot: str
) -> None:
    archive = tool["Repository"](tool["Directory"](str(DIRECTORY / name)), passphrase)
    (copy,) = (each for each in archive.store.names("manifests") if each.startswith(snapshot))
    assert dict(archive.blocks(archive.manifest(copy), pytest.fail)) == EXPECTED[snapshot]


@vectors
@pytest.mark.parametrize("snapshot", ["snap-1", "snap-2"])
def test_the_server_reads_the_vectors(name: str, passphrase: str | None, snapshot: str) -> None:
    archive = repository.open_(loaded(name), passphrase=passphrase)
    manifest = archive.manifest(reader.newest(archive, snapshot))
    assert (
        dict(reader.blocks(archive, manifest, lose=lambda each: pytest.fail(str(each))))
        == (EXPECTED[snapshot])
    )


def loaded(name: str) -> MemoryStore:
    store = MemoryStore()
    for path in (DIRECTORY / name).rglob("*"):
        if path.is_file():
            store.write(str(path.relative_to(DIRECTORY / name)), path.read_bytes())
    return store


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False
    )


def test_the_tool_writes_a_sparse_image(tmp_path: Path) -> None:
    secret, image = tmp_path / "passphrase", tmp_path / "disk.img"
    secret.write_text(PASSPHRASE + "\n")
    given = (str(DIRECTORY / "encrypted"), "snap-2", "--to", str(image))
    assert "--passphrase-file" in run(*given).stderr
    done = run(*given, "--passphrase-file", str(secret))
    assert (done.returncode, done.stderr) == (0, "")
    assert image.stat().st_size == 5 * 2**30
    with image.open("rb") as file:
        for block, content in EXPECTED["snap-2"].items():
            file.seek(block * BLOCK_BYTES)
            assert file.read(BLOCK_BYTES) == content
        file.seek(0)
        assert file.read(BLOCK_BYTES) == bytes(BLOCK_BYTES)


def test_the_tool_lists_what_there_is_and_names_what_is_not(tmp_path: Path) -> None:
    listed = run(str(DIRECTORY / "plain"))
    assert [each.rpartition("-")[0] for each in listed.stdout.split()] == ["snap-1", "snap-2"]
    missing = run(str(DIRECTORY / "plain"), "snap-3", "--to", str(tmp_path / "disk.img"))
    assert (missing.returncode, missing.stderr) == (1, "There is no copy of snap-3.\n")
