"""Buckets that keep every version, and such as lock them (Object Lock)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cpm.archive import manifests, packs, repository, s3, writer
from cpm.archive.collector import GRACE, collect
from cpm.archive.errors import Locked, NameTaken, NotFound
from cpm.archive.s3 import S3Store
from cpm.aws.sessions import Aws
from tests.archive.conftest import REGION, Later
from tests.archive.volumes import Copier, came_back, noise, subject

DAYS = 30
ENABLED = {"Status": "Enabled"}


def make_bucket(aws: Aws, name: str, **more: Any) -> str:
    where = {"LocationConstraint": REGION}
    aws.call("s3", "CreateBucket", Bucket=name, CreateBucketConfiguration=where, **more)
    return name


def versions(aws: Aws, bucket: str, prefix: str = "") -> list[str]:
    """What of a bucket is paid for, markers left out."""
    found = aws.call("s3", "ListObjectVersions", Bucket=bucket, Prefix=prefix)
    return [each["Key"] for each in found.get("Versions", ())]


@pytest.fixture(scope="module")
def versioned(aws: Aws) -> str:
    """A bucket that keeps what is overwritten."""
    name = make_bucket(aws, "versioned")
    aws.call("s3", "PutBucketVersioning", Bucket=name, VersioningConfiguration=ENABLED)
    return name


@pytest.fixture(scope="module")
def locking(aws: Aws) -> str:
    """A bucket that locks everything for a month."""
    name = make_bucket(aws, "locking", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": DAYS}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    aws.call("s3", "PutObjectLockConfiguration", Bucket=name, ObjectLockConfiguration=configuration)
    return name


def test_what_is_deleted_frees_its_space_with_all_its_versions(aws: Aws, versioned: str) -> None:
    store = S3Store(aws, versioned, "a")
    for content in (b"first", b"second", b"third"):
        store.write("manifests/x", content)
    store.write("manifests/xy", b"another")
    aws.call("s3", "DeleteObject", Bucket=versioned, Key="a/manifests/x")
    assert len(versions(aws, versioned, "a/")) == 4
    store.delete("manifests/x")
    assert versions(aws, versioned, "a/") == ["a/manifests/xy"]
    store.delete("manifests/x")
    with pytest.raises(NotFound):
        store.read("manifests/x")
    with pytest.raises(NotFound):
        store.locked_until("manifests/x")
    assert store.locked_until("manifests/xy") is None
    assert store.read("manifests/xy") == b"another"


def test_a_name_is_free_again_after_its_deletion(aws: Aws, versioned: str) -> None:
    store = S3Store(aws, versioned, "b")
    store.write("manifests/x", b"first", only_new=True)
    with pytest.raises(NameTaken):
        store.write("manifests/x", b"second", only_new=True)
    store.delete("manifests/x")
    store.write("manifests/x", b"second", only_new=True)
    assert store.read("manifests/x") == b"second"


def test_many_versions_of_a_name_go_to_the_last(
    aws: Aws, versioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_MOST_LISTED", 3)
    store = S3Store(aws, versioned, "c")
    for number in range(8):
        store.write("manifests/x", str(number).encode())
    store.write("manifests/xy", b"another")
    store.delete("manifests/x")
    assert versions(aws, versioned, "c/") == ["c/manifests/xy"]


def test_what_is_locked_stays_is_no_error_and_goes_when_the_lock_ends(
    aws: Aws, locking: str, later: Later, tmp_path: Path
) -> None:
    store = S3Store(aws, locking, "vault")
    archive = repository.create(store, passphrase="open sesame")
    copier = Copier(archive, pack_bytes=1)
    first = copier.copy({0: noise(0), 1: noise(1)})
    second = copier.copy({1: noise(2)}, subject("snap-2"), first)
    with pytest.raises(Locked):
        writer.retire(archive, first.name)
    # Nothing was put either: it would be locked itself, and each attempt would add to it.
    assert versions(aws, locking, "vault/retired/") == []
    before = len(versions(aws, locking, "vault/packs/"))
    later(timedelta(days=DAYS + 1))
    writer.retire(archive, first.name)
    assert list(archive.names()) == [second.name]
    later(GRACE)
    collected = collect(archive, tmp_path)
    assert (collected.deleted_packs, collected.locked_packs) == (2, 0)
    assert len(versions(aws, locking, "vault/packs/")) == before - 2
    # Retired after the others were put, it is still locked itself.
    assert len(versions(aws, locking, "vault/retired/")) == 1
    later(timedelta(days=DAYS))
    collect(archive, tmp_path)
    assert versions(aws, locking, "vault/retired/") == []
    assert came_back(archive, second) == {0: noise(0), 1: noise(2)}


def test_packs_that_are_locked_wait_for_a_later_collection(
    aws: Aws, locking: str, later: Later, tmp_path: Path
) -> None:
    archive = repository.create(S3Store(aws, locking, "left"))
    Copier(archive).write({0: noise(0)})
    later(GRACE)
    collected = collect(archive, tmp_path)
    assert (collected.deleted_packs, collected.locked_packs) == (0, 1)
    later(timedelta(days=DAYS))
    assert collect(archive, tmp_path).deleted_packs == 1
    assert versions(aws, locking, f"left/{packs.PREFIX}") == []


def test_a_legal_hold_keeps_a_copy_for_as_long_as_it_lasts(aws: Aws, later: Later) -> None:
    bucket = make_bucket(aws, "held", ObjectLockEnabledForBucket=True)
    archive = repository.create(S3Store(aws, bucket, "vault"))
    made = Copier(archive).copy({0: noise(0)})
    key = f"vault/{manifests.PREFIX}{made.name}"
    held = {"Bucket": bucket, "Key": key}
    aws.call("s3", "PutObjectLegalHold", **held, LegalHold={"Status": "ON"})
    with pytest.raises(Locked):
        writer.retire(archive, made.name)
    with pytest.raises(Locked):
        archive.store.delete(manifests.PREFIX + made.name)
    aws.call("s3", "PutObjectLegalHold", **held, LegalHold={"Status": "OFF"})
    writer.retire(archive, made.name)
    assert list(archive.names()) == []
