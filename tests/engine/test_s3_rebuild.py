"""A server that has lost its database finds its copies again, by the bucket alone."""

from typing import Any

import pytest

from cpm.engine import repositories
from cpm.engine.s3_rebuild import Rebuilt
from cpm.kernel.invalid import Invalid
from cpm.models.audit import AuditEntry
from cpm.models.backups import Backup, BackupOutcome, CopyStatus
from cpm.models.policies import Policy
from cpm.models.repositories import S3Repository
from cpm.models.s3_copies import S3Copy
from cpm.models.snapshots import Snapshot
from cpm.queries import backups, people
from cpm.services.rebuilding import rebuild
from tests.archive.volumes import Copier, subject, text
from tests.engine.archiving import Vault, copies_of, s3_policy, volume, write
from tests.engine.world import World, instance_target, volume_target


@pytest.fixture
def vault(world: World) -> Vault:
    """A repository in a bucket of its own."""
    return Vault.of(world)


def place(vault: Vault) -> dict[str, Any]:
    """How somebody tells where copies are."""
    return {
        "name": "found",
        "account": vault.world.account.pk,
        "bucket_name": vault.row.bucket_name,
        "prefix": vault.row.prefix,
    }


def lose_everything() -> None:
    """All that the server knows of copies."""
    for table in (S3Copy, Snapshot, Backup, Policy, S3Repository):
        table.objects.all().delete()


def test_copies_are_listed_again_and_give_back_the_same_bytes(world: World, vault: Vault) -> None:
    (instance_id,) = world.seed(instances=1, volumes_per=1)["instances"]
    loose = volume(world)
    policy = s3_policy(vault, volume_target(loose), instance_target(instance_id))
    first = world.backup(policy)
    write(world, loose, start=9, seed=7)
    second = world.backup(policy)
    lost = {
        each.aws_ref: (each, vault.blocks(each)) for each in [*copies_of(first), *copies_of(second)]
    }
    runs = {first.run, second.run}
    owner = people.of(world.user)
    lose_everything()

    rebuilt = rebuild(place(vault), actor=owner)
    assert (rebuilt.copies, rebuilt.backups, rebuilt.known) == (4, 2, 0)
    vault.row = S3Repository.objects.get()
    found = Snapshot.objects.filter(collection="copy_to_s3")
    assert {each.aws_ref for each in found} == set(lost)
    for snapshot in found:
        before, blocks = lost[snapshot.aws_ref]
        assert vault.blocks(snapshot) == blocks
        for column in ("resource_id", "resource_name", "instance_id", "volume_device", "size_gib"):
            assert getattr(snapshot, column) == getattr(before, column), column
        assert snapshot.facts == before.facts
        assert (snapshot.target is None) == (before.target_id is None)
    records = backups.listed(owner)
    assert {each.run for each in records} == runs
    for record in records:
        assert (record.outcome, record.s3_status) == (
            BackupOutcome.DELETED,
            CopyStatus.SUCCEEDED,
        )
        assert record.policy_name == policy.name
    assert vault.row.size_bytes == sum(each.s3_copy.size_bytes for each in found)
    assert trail() == [
        ("rebuild S3 repository", ""),
        ("S3 repository rebuilt", "4 copies in 2 backups"),
    ]

    again = rebuild(place(vault), actor=owner)
    assert (again.copies, again.backups, again.known) == (0, 0, 4)
    assert Snapshot.objects.filter(collection="copy_to_s3").count() == 4


def test_a_rebuild_that_dies_halfway_is_in_the_trail(world: World, vault: Vault) -> None:
    vault.row.aws_region = "us-east-1"
    repositories.establish(vault.row)
    copier = Copier(repositories.open_archive(vault.row))
    for number in range(2):
        copier.copy({0: text(number)}, subject(f"snap-{number}"))
    lose_everything()

    def die(_rebuilt: Rebuilt) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(place(vault), actor=people.of(world.user), progress=die)
    assert S3Copy.objects.count() == 1
    assert trail() == [("rebuild S3 repository", "")]


def trail() -> list[tuple[str, str]]:
    """What the trail tells of rebuilding."""
    told = AuditEntry.objects.filter(event_type__contains="rebuil").order_by("pk")
    return list(told.values_list("event_type", "description"))


def test_what_is_there_still_is_left_alone(world: World, vault: Vault) -> None:
    policy = s3_policy(vault)
    backup = world.backup(policy)
    rebuilt = rebuild(place(vault), actor=people.of(world.user))
    assert (rebuilt.copies, rebuilt.known) == (0, 1)
    assert copies_of(backup)[0].backup_id == backup.pk
    assert S3Repository.objects.count() == 1


def test_copies_of_which_manifests_say_little_are_found_too_and_damaged_ones_are_told(
    world: World, vault: Vault
) -> None:
    vault.row.aws_region = "us-east-1"
    repositories.establish(vault.row)
    archive = repositories.open_archive(vault.row)
    copier = Copier(archive)
    made = copier.copy({0: text(0)}, subject("snap-1"))
    damaged = copier.copy({0: text(1)}, subject("snap-2"))
    archive.store.write(f"manifests/{damaged.name}", b"what is this")
    lose_everything()
    rebuilt = rebuild(place(vault), actor=people.of(world.user))
    assert rebuilt.copies == 1
    assert damaged.name in rebuilt.damaged[0]
    found = Snapshot.objects.get()
    assert (found.aws_ref, found.resource_id, found.size_gib) == (made.name, "vol-1", 1)
    assert rebuild(place(vault), actor=people.of(world.user)).known == 1


def test_what_is_encrypted_is_found_with_its_passphrase(world: World, vault: Vault) -> None:
    lose_everything()
    sealed = {**place(vault), "encryption": "C", "passphrase": "open sesame"}
    owner = people.of(world.user)
    rebuild(sealed, actor=owner)
    lose_everything()
    with pytest.raises(Invalid, match="passphrase"):
        rebuild(place(vault), actor=owner)
    assert rebuild(sealed, actor=owner).copies == 0
    assert repositories.open_archive(S3Repository.objects.get()).key.secret is not None
