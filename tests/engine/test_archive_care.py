"""Archives are looked after: garbage goes, everything is read again in time, damage is told."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cpm.archive import manifests, packs, writer
from cpm.archive.blobs import digest_of
from cpm.archive.collector import GRACE
from cpm.archive.manifests import Manifest
from cpm.archive.repository import Repository
from cpm.engine import archive_care, queue, repositories
from cpm.kernel import clock
from cpm.models.alerts import Alert
from cpm.models.events import Event, Stream
from cpm.models.repositories import ArchiveDamage, S3Repository
from tests.archive.volumes import Copier, came_back, misname, noise, text
from tests.engine.archiving import Vault, copies_of, s3_policy
from tests.engine.conftest import Later
from tests.engine.world import REGION, World

DAYS = 3


@pytest.fixture
def row(world: World, settings: Any) -> S3Repository:
    """A repository of the user's, whose packs are all read within three days."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, archive_verify_days=DAYS)
    bucket = f"archive-{world.credentials.account}"
    world.client("s3").create_bucket(Bucket=bucket)
    made = S3Repository.objects.create(
        user=world.user,
        account=world.account,
        name="vault",
        bucket_name=bucket,
        prefix="vault",
        aws_region=REGION,
    )
    repositories.establish(made)
    # The time begins to count.
    archive_care.tick(clock.now())
    return made


@pytest.fixture
def archive(row: S3Repository) -> Repository:
    """The same, opened."""
    return repositories.open_archive(row)


@pytest.fixture
def copy(archive: Repository) -> Manifest:
    """A copy of three packs and its page."""
    return Copier(archive, pack_bytes=1).copy({0: noise(0), 1: text(1), 2: noise(2)})


def log() -> Iterator[tuple[str, dict[str, Any]]]:
    events = Event.objects.filter(stream=Stream.CLEANUP, code__startswith="archive")
    return iter(events.order_by("pk").values_list("code", "values"))


def last(code: str) -> dict[str, Any]:
    return [values for each, values in log() if each == code][-1]


def pass_days(world: World, days: int) -> None:
    """Let the server look after its archives once a day."""
    for _ in range(days):
        look(world, timedelta(days=1))


def look(world: World, after: timedelta) -> None:
    """Let time pass, and do what is due of care then."""
    world.move_to(clock.now() + after)
    archive_care.tick(clock.now())
    while queue.run_next():
        pass


def alert() -> Alert:
    return Alert.objects.get(resolved_at=None)


def flip(archive: Repository, manifest: Manifest, block: int) -> tuple[str, bytes]:
    """Damage a block; the object and what it was."""
    place = archive.page(manifest.pages[0])[block]
    name = packs.name_of(place.pack)
    content = archive.store.read(name)
    flipped = bytearray(content)
    flipped[place.offset] ^= 1
    archive.store.write(name, bytes(flipped))
    return name, content


def test_garbage_goes_once_a_day_and_what_is_stored_is_told(
    world: World, row: S3Repository, archive: Repository, copy: Manifest, later: Later
) -> None:
    Copier(archive).write({7: noise(7)})
    pass_days(world, 1)
    assert last("archive_collected")["deleted"] == 0
    later(GRACE)
    pass_days(world, 1)
    told = last("archive_collected")
    assert (told["copies"], told["packs"], told["deleted"]) == (1, 4, 1)
    row.refresh_from_db()
    stored = [
        *archive.store.list(packs.PREFIX),
        *archive.store.list(manifests.PREFIX),
    ]
    assert row.stored_bytes == sum(each.size for each in stored)
    assert came_back(archive, copy) == {0: noise(0), 1: text(1), 2: noise(2)}
    assert not Alert.objects.exists()


def test_ages_go_by_the_clock_of_s3(world: World, archive: Repository) -> None:
    Copier(archive).write({7: noise(7)})
    look(world, GRACE * 2)
    assert all(values["deleted"] == 0 for code, values in log() if code == "archive_collected")
    assert len(list(archive.store.list(packs.PREFIX))) == 1


def test_everything_is_read_again_within_the_days_of_the_setting(
    world: World, row: S3Repository, copy: Manifest
) -> None:
    began_at = clock.now()
    pass_days(world, 2)
    row.refresh_from_db()
    assert (row.round_portions, row.round_done) == (DAYS, 1)
    assert row.last_verified_at is None
    pass_days(world, DAYS + 1)
    assert S3Repository.objects.filter(last_verified_at__gt=began_at).exists()
    assert last("archive_verified") == {
        "repository": "vault",
        "owner": world.user.pk,
        "portions": DAYS,
        "damages": 0,
    }


def test_damage_is_told_by_the_copies_and_blocks_that_suffer_until_it_is_mended(
    world: World, row: S3Repository, archive: Repository, copy: Manifest
) -> None:
    name, content = flip(archive, copy, 2)
    pass_days(world, DAYS + 3)
    told = alert()
    assert (told.category, told.severity, told.user) == ("S3 Copy", "Error", world.user)
    assert told.title == "S3 repository vault is damaged"
    assert f"1 copies suffer ({copy.name}): 1 blocks" in told.message
    assert f"{copy.name} block 2" in told.message
    row.refresh_from_db()
    assert row.last_verified_at is None
    archive.store.write(name, content)
    pass_days(world, 1)
    assert not Alert.objects.filter(resolved_at=None).exists()
    pass_days(world, DAYS + 1)
    row.refresh_from_db()
    assert row.last_verified_at is not None


def test_a_page_that_names_what_is_not_there_is_told_by_its_blocks(
    world: World, archive: Repository, copy: Manifest
) -> None:
    bad = misname(archive, copy, 1, digest=digest_of(noise(7)))
    pass_days(world, DAYS + 3)
    assert f"1 copies suffer ({bad.name}): 1 blocks" in alert().message
    assert f"{bad.name} block 1" in alert().message
    writer.retire(archive, bad.name)
    pass_days(world, 1)
    assert not Alert.objects.filter(resolved_at=None).exists()


def test_what_others_have_deleted_is_back_the_same_day_where_the_bucket_has_it_still(
    world: World, row: S3Repository, archive: Repository
) -> None:
    s3, bucket = world.client("s3"), row.bucket_name
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    copy = Copier(archive, pack_bytes=1).copy({0: noise(0), 1: text(1)})
    pack = packs.name_of(archive.page(copy.pages[0])[1].pack)
    for name in (pack, manifests.PREFIX + copy.name):
        s3.delete_object(Bucket=bucket, Key=f"vault/{name}")
    pass_days(world, 1)
    assert last("archive_brought_back")["objects"] == 2
    assert (last("archive_collected")["copies"], last("archive_collected")["missing"]) == (1, 0)
    assert came_back(archive, copy) == {0: noise(0), 1: text(1)}
    assert not Alert.objects.exists()


def test_missing_packs_are_told_the_same_day_and_forgotten_with_the_copies(
    world: World, archive: Repository, copy: Manifest
) -> None:
    place = archive.page(copy.pages[0])[1]
    archive.store.delete(packs.name_of(place.pack))
    pass_days(world, 1)
    assert f"{copy.name} block 1" in alert().message
    assert last("archive_collected")["missing"] == 1
    writer.retire(archive, copy.name)
    pass_days(world, 1)
    assert not Alert.objects.filter(resolved_at=None).exists()
    assert not ArchiveDamage.objects.exists()


def test_a_manifest_or_page_that_cannot_be_read_keeps_everything_until_it_is_mended(
    world: World, archive: Repository, copy: Manifest, later: Later
) -> None:
    name = manifests.PREFIX + copy.name
    content = archive.store.read(name)
    archive.store.write(name, b"what is this")
    Copier(archive).write({7: noise(7)})
    later(GRACE)
    pass_days(world, 1)
    assert f"manifest {copy.name}" in alert().message
    assert last("archive_not_collected")["name"] == name
    assert len(list(archive.store.list(packs.PREFIX))) == 5
    archive.store.write(name, content)
    page = copy.pages[0].place
    pack = packs.name_of(page.pack)
    whole = archive.store.read(pack)
    damaged = bytearray(whole)
    damaged[page.offset] ^= 1
    archive.store.write(pack, bytes(damaged))
    pass_days(world, 1)
    assert f"{copy.name} page 0" in alert().message
    archive.store.write(pack, whole)
    pass_days(world, 1)
    assert not Alert.objects.filter(resolved_at=None).exists()
    assert last("archive_collected")["deleted"] == 1


def test_a_repository_that_cannot_be_entered_is_told_and_tried_again(
    world: World, row: S3Repository, copy: Manifest
) -> None:
    world.simulator.faults([{"op": "s3:GetObject", "kind": "denied"}])
    pass_days(world, 1)
    assert alert().title == "S3 repository vault cannot be looked after"
    world.simulator.faults([{"op": "s3:ListObjectVersions", "kind": "throttle", "times": 3}])
    look(world, timedelta(hours=2))
    assert alert().category == "S3 Copy"
    look(world, timedelta(minutes=6))
    assert not Alert.objects.filter(resolved_at=None).exists()
    assert last("archive_collected")["copies"] == 1


def test_what_is_damaged_is_stored_anew_when_it_comes_again(world: World) -> None:
    vault = Vault.of(world)
    policy = s3_policy(vault)
    (lost,) = copies_of(world.backup(policy))
    archive_care.tick(clock.now())
    for name in vault.keys(packs.PREFIX):
        vault.opened().store.delete(name)
    pass_days(world, 1)
    assert f"1 copies suffer ({lost.aws_ref})" in alert().message
    # Another volume has the same data; the volume itself has not changed.
    for again in (s3_policy(vault), policy):
        (copy,) = copies_of(world.backup(again))
        assert len(vault.blocks(copy)) == 4
