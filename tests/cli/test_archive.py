"""`cpm archive`: by the bucket alone, with nothing else running."""

import json
import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cpm.archive import packs, reader, repository
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.manifests import PREFIX
from cpm.archive.repository import DESCRIPTION, KEYS, Repository
from cpm.archive.s3 import S3Store
from cpm.aws.budget import NoBudget
from cpm.aws.credentials import StaticKeys
from cpm.aws.sessions import Aws, Cloud
from cpm.cli.terminal import data_bar
from cpm.simulator.process import Simulator
from tests.archive.volumes import Copier, noise, subject, text
from tests.cli.commands import cpm

ADDRESS = "s3://last-copies/of/everything"
PASSPHRASE = "correct horse"
REGION = "eu-west-1"

Archive = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def keys(simulator: Simulator) -> StaticKeys:
    opened = simulator.account("500000000001")
    return StaticKeys(opened.access_key_id, opened.secret_access_key)


@pytest.fixture(scope="module")
def aws(simulator: Simulator, keys: StaticKeys) -> Iterator[Aws]:
    cloud = Cloud(endpoint_url=simulator.endpoint, budget=NoBudget())
    yield cloud.aws(keys, REGION)
    cloud.close()


@pytest.fixture(scope="module")
def repo(aws: Aws) -> Repository:
    """An encrypted repository with two copies, in a bucket far from where it is asked for."""
    where = {"LocationConstraint": REGION}
    aws.call("s3", "CreateBucket", Bucket="last-copies", CreateBucketConfiguration=where)
    store = S3Store(aws, "last-copies", "of/everything")
    archive = repository.create(store, passphrase=PASSPHRASE)
    copier = Copier(archive)
    first = copier.copy({0: text(0), 9: noise(9)}, subject("snap-1"))
    copier.copy({1: text(1)}, subject("snap-2"), first)
    return archive


@pytest.fixture
def archive(repo: Repository, simulator: Simulator, keys: StaticKeys, tmp_path: Path) -> Archive:
    """Runs `cpm archive` as somebody who has the passphrase and keys of AWS."""
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE + "\n")

    def run(verb: str, *more: str, key: bool = True) -> subprocess.CompletedProcess[str]:
        return cpm(
            *("archive", verb, ADDRESS, *more),
            *(("--passphrase-file", str(secret)) if key else ()),
            CPM_AWS_ENDPOINT=simulator.endpoint,
            AWS_ACCESS_KEY_ID=keys.access_key_id,
            AWS_SECRET_ACCESS_KEY=keys.secret_access_key,
        )

    return run


def test_copies_are_listed(archive: Archive) -> None:
    listed = archive("list", "--json")
    assert listed.returncode == 0, listed.stderr
    first, second = json.loads(listed.stdout)
    assert (first["snapshot"], first["blocks"], first["size_gib"]) == ("snap-1", 2, 1)
    assert second["based_on"] == first["name"]
    assert "snap-2" in archive("list").stdout


def test_a_snapshot_comes_back_as_an_image(archive: Archive, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    with no_room_for_files():
        stopped = archive("restore", "snap-2", "--to", str(image))
    assert stopped.returncode == 1
    assert "File too large" in stopped.stderr
    assert "The same command goes on where it was." in stopped.stderr
    done = archive("restore", "snap-2", "--to", str(image))
    assert done.returncode == 0, done.stderr
    assert "1 GiB of vol-1, 1.5 MiB of it data" in done.stderr
    assert re.search(r"1\.5/1\.5 MiB [\d.]+ [KMG]iB/s", done.stderr)
    assert "all verified" in done.stderr
    assert image.stat().st_size == 2**30
    with image.open("rb") as file:
        assert file.read(2 * BLOCK_BYTES) == text(0) + text(1)
        file.seek(9 * BLOCK_BYTES)
        assert file.read(BLOCK_BYTES) == noise(9)
    again = archive("restore", "snap-2", "--to", str(image))
    assert (again.returncode, f"{image} is there already" in again.stderr) == (1, True)
    away = archive("restore", "snap-2", "--to", str(tmp_path / "away" / "disk.img"))
    assert (away.returncode, f"no directory {tmp_path / 'away'}" in away.stderr) == (1, True)


def test_a_log_tells_of_long_restores_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with data_bar("restored", 1000) as moved:
        for _ in range(100):
            moved(10)
    lines = capsys.readouterr().err.splitlines()
    line = re.compile(r"(\d+) %, [\d.]+ [KMG]iB/s, (a while|about \d+ minutes) left")
    told = map(line.fullmatch, lines)
    assert [int(each[1]) for each in told if each] == [10, 20, 30, 40, 50, 60, 70, 80, 90]


@contextmanager
def no_room_for_files() -> Iterator[None]:
    """Lets commands write no file of any size, as where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_more_keys_open_a_repository_whose_first_is_lost(
    archive: Archive, repo: Repository, tmp_path: Path, aws: Aws
) -> None:
    (first,) = repo.store.list(KEYS)
    kms = aws.call("kms", "CreateKey")["KeyMetadata"]["Arn"]
    other = tmp_path / "other"
    other.write_text("another horse")
    assert archive("add-key").returncode == 2
    added = archive("add-key", "--new-kms-key", kms, "--new-passphrase-file", str(other))
    assert added.returncode == 0, added.stderr
    assert added.stderr.count("opens the repository too") == 2
    by_kms = archive("list", "--json", key=False)
    assert len(json.loads(by_kms.stdout)) == 2
    aws.call("kms", "DisableKey", KeyId=kms.rpartition("/")[2])
    by_other = archive("list", "--json", "--passphrase-file", str(other), key=False)
    assert by_other.stdout == by_kms.stdout
    for added_key in set(repo.store.list(KEYS)) - {first}:
        repo.store.delete(added_key.name)


def test_what_is_not_there_is_told(archive: Archive, tmp_path: Path) -> None:
    missing = archive("restore", "snap-3", "--to", str(tmp_path / "disk.img"))
    assert missing.returncode == 1
    assert "There is no copy of snap-3" in missing.stderr
    assert "Traceback" not in missing.stderr
    nobody = cpm("archive", "list", ADDRESS, AWS_EC2_METADATA_DISABLED="true", HOME=str(tmp_path))
    assert nobody.returncode == 1
    assert nobody.stderr.startswith("NoCredentials: there are none of AWS on this machine")
    locked = archive("list", key=False)
    assert locked.returncode == 1
    assert "encrypted" in locked.stderr


def test_a_manifest_that_cannot_be_read_does_not_hide_the_others(
    archive: Archive, repo: Repository
) -> None:
    name = f"{PREFIX}{reader.newest(repo, 'snap-1')}"
    good = repo.store.read(name)
    repo.store.write(name, good[:-1])
    listed = archive("list", "--json")
    repo.store.write(name, good)
    assert listed.returncode == 1
    assert [each["snapshot"] for each in json.loads(listed.stdout)] == ["snap-2"]
    assert f"Damaged: manifest {name.removeprefix(PREFIX)}" in listed.stderr


def test_damage_is_found_named_and_costs_nothing_else(
    archive: Archive, repo: Repository, tmp_path: Path
) -> None:
    whole = archive("check", "--read-data", "--json")
    assert whole.returncode == 0, whole.stderr
    told = json.loads(whole.stdout)
    assert (told["manifests"], told["blocks"], told["damages"]) == (2, 5, [])
    assert told["packs"] == len(list(repo.store.list(packs.PREFIX)))
    assert "and verified" in whole.stderr
    assert archive("check", "--read-data=0%").returncode == 2
    assert archive("check", "--read-data=5%").returncode == 0
    manifest = repo.manifest(reader.newest(repo, "snap-1"))
    place = repo.page(manifest.pages[0])[0]
    name = packs.name_of(place.pack)
    good = repo.store.read(name)
    bad = bytearray(good)
    bad[place.offset] ^= 1
    repo.store.write(name, bytes(bad))
    checked = archive("check", "--read-data=100%", "--json")
    image = tmp_path / "disk.img"
    restored = archive("restore", "snap-1", "--to", str(image))
    repo.store.write(name, good)
    assert checked.returncode == 1
    assert f"Damaged: {manifest.name} block 0" in checked.stderr
    suffering = {each["what"] for each in json.loads(checked.stdout)["damages"]}
    assert f"{manifest.name} block 0" in suffering
    assert restored.returncode == 1
    assert "Lost: block 0" in restored.stderr
    with image.open("rb") as file:
        assert file.read(BLOCK_BYTES) == bytes(BLOCK_BYTES)
        file.seek(9 * BLOCK_BYTES)
        assert file.read(BLOCK_BYTES) == noise(9)


def test_what_somebody_has_deleted_is_told_and_repaired(
    archive: Archive, repo: Repository, aws: Aws
) -> None:
    bucket, enabled = "last-copies", {"Status": "Enabled"}
    aws.call("s3", "PutBucketVersioning", Bucket=bucket, VersioningConfiguration=enabled)
    name = reader.newest(repo, "snap-1")
    for each in (PREFIX + name, DESCRIPTION):
        aws.call("s3", "DeleteObject", Bucket=bucket, Key=f"of/everything/{each}")
    assert "There is no repository here" in archive("check").stderr
    repaired = archive("check", "--repair", "--json")
    assert repaired.returncode == 0, repaired.stderr
    assert "2 objects that were deleted are back" in repaired.stderr
    told = json.loads(repaired.stdout)
    assert (told["manifests"], told["brought_back"], told["damages"]) == (2, 2, [])
