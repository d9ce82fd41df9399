"""Whoever has the format's page alone reads what is archived, today's and that of years ago."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpm.archive import reader, repository
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.s3 import S3Store
from cpm.archive.store import MemoryStore
from cpm.aws.sessions import Aws
from cpm.simulator.process import Simulator
from tests.archive.conftest import BUCKET, REGION
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
    """Run it as somebody who has no credentials of AWS."""
    return subprocess.run(
        [sys.executable, str(TOOL), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nowhere"},
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


@pytest.fixture
def owner(simulator: Simulator, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """Lets boto3 find in the environment who has the bucket."""
    keys = simulator.account(aws.call("sts", "GetCallerIdentity")["Account"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_access_key)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    return aws


def test_the_tool_reads_what_is_in_s3(owner: Aws, tool: dict[str, Any], tmp_path: Path) -> None:
    for name, (content, _) in loaded("plain").objects.items():
        S3Store(owner, BUCKET, "vectors/plain").write(name, content)
    image = tmp_path / "disk.img"
    assert tool["run"]([f"s3://{BUCKET}/vectors/plain", "snap-1", "--to", str(image)]) == 0
    with image.open("rb") as file:
        for block, content in EXPECTED["snap-1"].items():
            file.seek(block * BLOCK_BYTES)
            assert file.read(BLOCK_BYTES) == content


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("s3://there-is-no-such-bucket/prefix", "NoSuchBucket"),
        (f"s3://{BUCKET}/none", f"there is no none/repository.json in bucket {BUCKET}"),
        ("/nowhere", "No such file or directory: '/nowhere/repository.json'"),
    ],
)
def test_the_tool_says_in_one_line_what_keeps_it_from_reading(
    owner: Aws,
    tool: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    address: str,
    reason: str,
) -> None:
    assert tool["run"]([address]) == 1
    said = capsys.readouterr()
    assert reason in said.err
    assert len(said.err.splitlines()) == 1


def test_the_tool_says_in_one_line_that_it_has_no_credentials() -> None:
    done = run(f"s3://{BUCKET}/prefix")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "NoCredentialsError: Unable to locate credentials\n"
