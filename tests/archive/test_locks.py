"""Buckets that keep every version, and such as lock them (Object Lock)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cpm.archive import manifests, packs, repository, s3, writer
from cpm.archive.checks import EVERYTHING, Check
from cpm.archive.collector import GRACE, collect
from cpm.archive.errors import Damaged, Locked, NameTaken, NotFound
from cpm.archive.manifests import Manifest
from cpm.archive.repository import Repository
from cpm.archive.s3 import S3Store
from cpm.archive.store import HIDDEN
from cpm.aws.sessions import Aws
from cpm.simulator.process import Simulator
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


def hide(aws: Aws, store: S3Store, bucket: str, *names: str) -> None:
    """Delete objects as somebody does who knows nothing of versions."""
    for name in names:
        aws.call("s3", "DeleteObject", Bucket=bucket, Key=store.prefix + name)


def pack_of_block(archive: Repository, copy: Manifest, block: int) -> str:
    return packs.name_of(archive.page(copy.pages[0])[block].pack)


def pack_of_page(copy: Manifest) -> str:
    return packs.name_of(copy.pages[0].place.pack)


def test_what_is_hidden_is_listed_when_that_is_wanted_and_brought_back(
    aws: Aws, versioned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_MOST_LISTED", 3)
    store = S3Store(aws, versioned, "d")
    for name in "abcde":
        for content in (b"old", b"newer"):
            store.write(name, content)
    for _ in range(3):
        hide(aws, store, versioned, "b", "e", "there was nothing")
    store.delete("d")
    assert [each.name for each in store.list("")] == ["a", "c"]
    listed = [(each.name, each.size, each.is_hidden) for each in store.list("", with_hidden=True)]
    assert listed == [("a", 5, False), ("b", 5, True), ("c", 5, False), ("e", 5, True)]
    assert [store.unhide(name) for name in ("a", "b", "b", "d", "there was nothing")] == [
        *(False, True),
        *(False, False, False),
    ]
    assert store.read("b") == b"newer"
    assert [each.name for each in store.list("", with_hidden=True) if each.is_hidden] == ["e"]
    store.delete("e")
    assert not any(key.startswith("d/e") for key in versions(aws, versioned, "d/"))


def test_a_collection_brings_back_what_others_have_deleted_and_copies_need(
    aws: Aws, versioned: str, later: Later, tmp_path: Path
) -> None:
    store = S3Store(aws, versioned, "collected")
    archive = repository.create(store)
    copier = Copier(archive, pack_bytes=1)
    copy = copier.copy({0: noise(0), 1: noise(1)})
    copier.write({7: noise(7)})
    (garbage,) = {each.name for each in store.list(packs.PREFIX)} - {
        *(pack_of_block(archive, copy, block) for block in (0, 1)),
        pack_of_page(copy),
        *(packs.name_of(each.place.pack) for each in copier.pages().values() if each),
    }
    needed = (
        *(manifests.PREFIX + copy.name, pack_of_page(copy)),
        pack_of_block(archive, copy, 1),
    )
    hide(aws, store, versioned, *needed, garbage)
    assert list(archive.names()) == []
    collected = collect(archive, tmp_path)
    assert (collected.brought_back, collected.missing_packs) == (3, [])
    assert (collected.manifests, collected.deleted_packs) == (1, 0)
    assert came_back(archive, copy) == {0: noise(0), 1: noise(1)}
    later(GRACE)
    # What nothing needs is paid for until it is deleted with its versions.
    assert f"collected/{garbage}" in versions(aws, versioned, "collected/")
    assert collect(archive, tmp_path).deleted_packs == 2
    assert f"collected/{garbage}" not in versions(aws, versioned, "collected/")
    assert came_back(archive, copy) == {0: noise(0), 1: noise(1)}


def test_what_may_not_be_brought_back_is_told_and_costs_nothing_else(
    aws: Aws, versioned: str, simulator: Simulator, later: Later, tmp_path: Path
) -> None:
    store = S3Store(aws, versioned, "denied")
    archive = repository.create(store)
    copier = Copier(archive, pack_bytes=1)
    copy = copier.copy({0: noise(0), 1: noise(1)})
    copier.write({7: noise(7)})
    pack = pack_of_block(archive, copy, 1)
    hide(aws, store, versioned, pack)
    try:
        simulator.faults([{"op": "s3:DeleteObject", "kind": "denied", "times": 1}])
        assert [packs.name_of(each) for each in collect(archive, tmp_path).missing_packs] == [pack]
        store.unhide(pack)
        hide(aws, store, versioned, manifests.PREFIX + copy.name)
        later(GRACE)
        before = versions(aws, versioned, "denied/")
        simulator.faults([{"op": "s3:DeleteObject", "kind": "denied", "times": 1}])
        with pytest.raises(Damaged, match=HIDDEN):
            collect(archive, tmp_path)
    finally:
        simulator.faults([])
    assert versions(aws, versioned, "denied/") == before


def test_a_check_tells_what_is_hidden_and_repairs_it(aws: Aws, versioned: str) -> None:
    store = S3Store(aws, versioned, "checked")
    archive = repository.create(store, passphrase="open sesame")
    copier = Copier(archive, pack_bytes=1)
    first = copier.copy({0: noise(0), 1: noise(1)})
    second = copier.copy({0: noise(2)}, subject("snap-2"), first)
    hide(aws, store, versioned, pack_of_block(archive, first, 0), pack_of_page(second))
    hide(aws, store, versioned, manifests.PREFIX + second.name)
    told = {each.what: each.why for each in Check(archive, read=EVERYTHING).run()}
    assert told.keys() == {f"{first.name} block 0", f"manifest {second.name}"}
    assert all(HIDDEN in why for why in told.values())
    repairing = Check(archive, read=EVERYTHING, repair=True)
    assert list(repairing.run()) == []
    assert repairing.checked.brought_back == 3
    assert came_back(archive, second) == {0: noise(2), 1: noise(1)}
    (key,) = store.list(repository.KEYS)
    hide(aws, store, versioned, repository.DESCRIPTION, key.name)
    assert repository.unhide(store) == 2
    assert repository.open_(store, passphrase="open sesame").id == archive.id


def test_a_copy_that_is_retired_while_it_is_hidden_does_not_come_back(
    aws: Aws, versioned: str, tmp_path: Path
) -> None:
    store = S3Store(aws, versioned, "retired")
    archive = repository.create(store)
    copy = Copier(archive).copy({0: noise(0)})
    hide(aws, store, versioned, manifests.PREFIX + copy.name)
    writer.retire(archive, copy.name)
    assert collect(archive, tmp_path).manifests == 0
    assert list(archive.names(with_hidden=True)) == []
    assert list(archive.names(prefix=manifests.RETIRED)) == [copy.name]
