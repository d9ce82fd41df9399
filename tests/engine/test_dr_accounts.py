"""Copies in another account: shared as long as it takes, and encrypted with keys of their own."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from cpm.aws import tags
from cpm.engine import cleanup, deletions, inventory, tick
from cpm.engine.deleted import mark_deleted
from cpm.kernel import clock, regions
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupOutcome, CopyStatus
from cpm.models.events import Event
from cpm.models.operations import Operation, OperationPhase
from cpm.models.policies import Policy
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.simulator.process import Credentials
from tests.engine.world import (
    OTHER_REGION,
    REGION,
    World,
    log_of,
    open_account,
    open_alerts,
    volume_target,
)

SHARE, COPY = "ec2:ModifySnapshotAttribute", "ec2:CopySnapshot"


@dataclass
class Vault:
    """The account that receives copies."""

    world: World
    account: Account
    credentials: Credentials

    def snapshots(self, region: str = REGION) -> dict[str, Any]:
        """What the account has, by id."""
        ec2 = self.world.client("ec2", region, of=self.credentials)
        found = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return {each["SnapshotId"]: each for each in found}

    def given(self, region: str = REGION) -> list[str]:
        """What other accounts share with it."""
        ec2 = self.world.client("ec2", region, of=self.credentials)
        found = ec2.describe_snapshots(RestorableByUserIds=["self"])["Snapshots"]
        return [each["SnapshotId"] for each in found if each["OwnerId"] != self.credentials.account]


@pytest.fixture
def vault(world: World) -> Vault:
    return Vault(world, *open_account(world))


def ids(*names: str) -> list[int]:
    return [region.id for region in map(regions.by_name, names) if region is not None]


def policy_to(vault: Vault, volume_id: str = "", **columns: Any) -> Policy:
    """A policy whose snapshots are copied to the other account."""
    columns = {"dr_crosses_accounts": True, "dr_account": vault.account, **columns}
    target = volume_target(volume_id or vault.world.volume())
    return vault.world.policy(target, dr_enabled=True, **columns)


def copy_of(backup: Backup) -> Snapshot:
    return Snapshot.objects.get(backup=backup, collection="dr_volumes")


def own(world: World) -> dict[str, Any]:
    """What the source has."""
    return {each["SnapshotId"]: each for each in world.snapshots_in_aws()}


def encrypted_volume(world: World, **key: str) -> str:
    zone = f"{REGION}a"
    made = world.ec2().create_volume(AvailabilityZone=zone, Size=1, Encrypted=True, **key)
    return str(made["VolumeId"])


def make_key(world: World, *accounts: str) -> str:
    """A key of the source that these accounts may use, too; its ARN."""
    kms = world.client("kms")
    named = [world.credentials.account, *accounts]
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam::{account}:root" for account in named]},
        "Action": "kms:*",
        "Resource": "*",
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return str(kms.create_key(Policy=json.dumps(document))["KeyMetadata"]["Arn"])


def name_key(world: World, arn: str, alias: str = "alias/cpm_share") -> None:
    kms = world.client("kms")
    kms.create_alias(AliasName=alias, TargetKeyId=arn.rpartition("/")[2])


class TestCopies:
    """Where a copy is, and that nothing else remains."""

    def test_a_copy_is_the_other_accounts_and_the_original_is_shared_no_more(
        self, world: World, vault: Vault
    ) -> None:
        backup = world.backup(policy_to(vault))
        assert backup.dr_status == CopyStatus.SUCCEEDED
        copy = copy_of(backup)
        assert (copy.account, copy.region) == (vault.account, REGION)
        assert set(vault.snapshots()) == {copy.aws_ref}
        carried = tags.from_aws(vault.snapshots()[copy.aws_ref]["Tags"])
        assert carried[tags.BACKUP_ID] == str(backup.pk)
        assert carried["Name"]
        assert vault.given() == []
        assert len(own(world)) == 1
        assert log_of(backup)[-4:] == [
            *("copy_step_started", "copy_step_started", "step_undone", "dr_succeeded")
        ]

    def test_it_goes_straight_to_the_regions_that_are_named(
        self, world: World, vault: Vault
    ) -> None:
        policy = policy_to(vault, dr_account_regions=ids(OTHER_REGION))
        copy = copy_of(world.backup(policy))
        assert set(vault.snapshots(OTHER_REGION)) == {copy.aws_ref}
        assert vault.snapshots() == {}
        assert vault.given() == vault.given(OTHER_REGION) == []

    def test_what_several_copies_need_is_shared_until_the_last_of_them_is_made(
        self, world: World, vault: Vault
    ) -> None:
        policy = policy_to(vault, dr_account_regions=ids(REGION, OTHER_REGION))
        backup = tick.run_now(policy)
        until_copying(world, backup)
        near, far = Snapshot.objects.filter(backup=backup, collection="dr_volumes").order_by("pk")
        for copy in (near, far):
            assert len(vault.given()) == 1
            world.simulator.config(pending=0)
            world.simulator.finish(copy.aws_ref)
            world.pass_time(timedelta(minutes=3))
        assert vault.given() == []
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.SUCCEEDED

    def test_copies_in_the_own_account_are_made_beside_it(self, world: World, vault: Vault) -> None:
        backup = world.backup(policy_to(vault, dr_regions=ids(OTHER_REGION)))
        copies = Snapshot.objects.filter(backup=backup, collection="dr_volumes")
        assert set(copies.values_list("account", "region")) == {
            (vault.account.pk, REGION),
            (world.account.pk, OTHER_REGION),
        }

    def test_the_own_account_under_another_name_is_no_other_place(self, world: World) -> None:
        again = Account.objects.create(
            user=world.user,
            name="again",
            is_dr_account=True,
            authentication="C",
            aws_access_key=world.credentials.access_key_id,
            sealed_secret=world.account.sealed_secret,
            aws_account_number=world.credentials.account,
        )
        backup = world.backup(policy_to(Vault(world, again, world.credentials)))
        assert backup.dr_status == CopyStatus.NONE


class TestKeys:
    """Copies are encrypted with a key of their own account."""

    def test_a_key_that_is_open_to_the_account_is_read_once_and_left(
        self, world: World, vault: Vault
    ) -> None:
        key = make_key(world, vault.credentials.account)
        policy = policy_to(vault, encrypted_volume(world, KmsKeyId=key))
        copy = copy_of(world.backup(policy))
        (made,) = vault.snapshots().values()
        assert (made["SnapshotId"], made["Encrypted"]) == (copy.aws_ref, True)
        assert vault.credentials.account in made["KmsKeyId"]
        assert copy.facts["kms_key_id"] == made["KmsKeyId"]
        assert vault.given() == []

    def test_a_key_that_is_closed_to_the_account_fails_the_copy_and_leaves_nothing(
        self, world: World, vault: Vault
    ) -> None:
        policy = policy_to(vault, encrypted_volume(world, KmsKeyId=make_key(world)))
        backup = world.backup(policy)
        assert backup.dr_status == CopyStatus.FAILED
        assert "Given key ID is not accessible" in copy_of(backup).error
        assert vault.snapshots() == {}
        assert vault.given() == []
        assert len(own(world)) == 1

    def test_what_awss_own_key_encrypts_is_shared_under_another_key(
        self, world: World, vault: Vault
    ) -> None:
        name_key(world, make_key(world, vault.credentials.account))
        policy = policy_to(vault, encrypted_volume(world), dr_account_regions=ids(OTHER_REGION))
        backup = world.backup(policy)
        assert backup.dr_status == CopyStatus.SUCCEEDED
        (made,) = vault.snapshots(OTHER_REGION).values()
        assert made["SnapshotId"] == copy_of(backup).aws_ref
        assert vault.credentials.account in made["KmsKeyId"]
        assert set(own(world)) == {backup.snapshots.get(collection="volumes").aws_ref}
        assert vault.given() == []

    def test_another_sharing_key_may_be_named(self, world: World, vault: Vault) -> None:
        name_key(world, make_key(world, vault.credentials.account), "alias/ours")
        policy = policy_to(vault, encrypted_volume(world), dr_sharing_key="alias/ours")
        assert world.backup(policy).dr_status == CopyStatus.SUCCEEDED

    def test_without_such_a_key_the_copy_fails_and_says_so(
        self, world: World, vault: Vault
    ) -> None:
        backup = world.backup(policy_to(vault, encrypted_volume(world)))
        assert backup.dr_status == CopyStatus.FAILED
        copy = copy_of(backup)
        assert copy.status == SnapshotStatus.FAILED
        assert "has no key alias/cpm_share" in copy.error
        assert not backup.operations.exclude(dr_copy=None).exists()
        assert len(own(world)) == 1


class TestFailures:
    """Whatever fails, sharing ends and nothing is left over."""

    def test_where_sharing_is_denied_there_is_no_copy(self, world: World, vault: Vault) -> None:
        world.simulator.faults([{"op": SHARE, "kind": "denied", "times": None}])
        backup = world.backup(policy_to(vault))
        world.simulator.faults([])
        assert backup.dr_status == CopyStatus.FAILED
        assert "ec2:ModifySnapshotAttribute UnauthorizedOperation" in copy_of(backup).error
        assert vault.snapshots() == {}

    def test_where_copying_is_denied_sharing_ends(self, world: World, vault: Vault) -> None:
        world.simulator.faults([{"op": COPY, "kind": "denied", "times": None}])
        backup = world.backup(policy_to(vault))
        assert backup.dr_status == CopyStatus.FAILED
        assert vault.given() == []
        assert vault.snapshots() == {}

    def test_where_the_account_lets_nobody_in_sharing_ends(
        self, world: World, vault: Vault
    ) -> None:
        world.simulator.config(revoked=[vault.credentials.access_key_id])
        backup = world.backup(policy_to(vault))
        world.simulator.config(revoked=[])
        assert backup.dr_status == CopyStatus.FAILED
        assert vault.given() == []

    def test_a_copy_that_ends_in_error_is_removed_with_what_was_made_for_it(
        self, world: World, vault: Vault
    ) -> None:
        name_key(world, make_key(world, vault.credentials.account))
        backup = tick.run_now(policy_to(vault, encrypted_volume(world)))
        made = until_copying(world, backup)
        world.simulator.config(pending=0, fail=[made])
        world.simulator.finish()
        world.drain()
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.FAILED
        assert vault.snapshots() == {}
        assert vault.given() == []
        assert len(own(world)) == 1

    def test_a_copy_that_is_late_is_removed_and_shared_no_more(
        self, world: World, vault: Vault
    ) -> None:
        backup = tick.run_now(policy_to(vault, dr_timeout_hours=1))
        until_copying(world, backup)
        assert vault.given() != []
        world.move_to(backup.started_at + timedelta(hours=1, minutes=5))
        world.drain()
        world.simulator.finish()
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.FAILED
        assert vault.snapshots() == {}
        assert vault.given() == []

    def test_a_share_that_cannot_be_ended_is_told_of_and_ended_by_cleanup(
        self, world: World, vault: Vault
    ) -> None:
        policy = policy_to(vault)
        backup = tick.run_now(policy)
        until_copying(world, backup)
        world.simulator.faults([{"op": SHARE, "kind": "denied", "times": None}])
        world.simulator.config(pending=0)
        world.simulator.finish()
        world.drain()
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.SUCCEEDED
        assert "step_not_undone" in log_of(backup)
        assert open_alerts() == {f"policy:{policy.pk}:dr_left"}
        assert len(vault.given()) == 1
        world.simulator.faults([])
        cleanup.run()
        world.drain()
        assert vault.given() == []
        cleanup.run()
        assert not Operation.objects.exclude(phase=OperationPhase.CLOSED).exists()
        world.backup(policy)
        assert open_alerts() == set()

    @pytest.mark.parametrize("op", [SHARE, COPY])
    def test_lost_answers_cost_nothing(self, world: World, vault: Vault, op: str) -> None:
        world.simulator.faults([{"op": op, "kind": "lost", "times": 1}])
        backup = world.backup(policy_to(vault))
        assert backup.dr_status == CopyStatus.SUCCEEDED
        assert set(vault.snapshots()) == {copy_of(backup).aws_ref}
        assert vault.given() == []


class TestNoDeleting:
    """Where the account forbids deleting, what is not needed any longer is marked as expired."""

    @pytest.fixture
    def vault(self, world: World) -> Vault:
        return Vault(world, *open_account(world, allow_deleting_snapshots=False))

    def test_an_expired_copy_is_marked_and_the_record_is_deleted(
        self, world: World, vault: Vault
    ) -> None:
        policy = policy_to(vault, generations=1)
        old, _ = world.backup(policy), world.backup(policy)
        world.drain()
        old.refresh_from_db()
        copy = copy_of(old)
        assert (old.outcome, copy.status) == (BackupOutcome.DELETED, SnapshotStatus.DELETED)
        assert len(vault.snapshots()) == 2
        marked = tags.from_aws(vault.snapshots()[copy.aws_ref]["Tags"])
        assert marked[tags.EXPIRED].endswith("Z")
        assert "ec2:DeleteSnapshot" not in _calls_of(world, vault)
        assert Event.objects.filter(backup=old, code="snapshot_marked").count() == 1

    def test_one_that_is_deleted_by_itself_is_marked(self, world: World, vault: Vault) -> None:
        copy = copy_of(world.backup(policy_to(vault)))
        deletions.delete_in_aws(copy)
        (left,) = vault.snapshots().values()
        assert tags.EXPIRED in tags.from_aws(left["Tags"])

    def test_a_copy_that_failed_is_marked(self, world: World, vault: Vault) -> None:
        backup = tick.run_now(policy_to(vault))
        made = until_copying(world, backup)
        world.simulator.config(pending=0, fail=[made])
        world.simulator.finish()
        world.drain()
        (left,) = vault.snapshots().values()
        assert tags.EXPIRED in tags.from_aws(left["Tags"])
        assert vault.given() == []
        assert "ec2:DeleteSnapshot" not in _calls_of(world, vault)

    def test_there_is_room_for_the_mark_among_the_tags(self, world: World, vault: Vault) -> None:
        many = {f"key-{n}": "value" for n in range(45)}
        (volume_id,) = world.seed(standalone=1, tags=many)["standalone"]
        copy = copy_of(world.backup(policy_to(vault, volume_id)))
        deletions.delete_in_aws(copy)
        (left,) = vault.snapshots().values()
        assert tags.EXPIRED in tags.from_aws(left["Tags"])


class TestInventory:
    """What AWS keeps is compared with the rows in the accounts that receive copies, too."""

    def test_copies_and_what_they_need_are_known(self, world: World, vault: Vault) -> None:
        name_key(world, make_key(world, vault.credentials.account))
        backup = tick.run_now(policy_to(vault, encrypted_volume(world)))
        until_copying(world, backup)
        take_stock(world)
        world.simulator.config(pending=0)
        world.simulator.finish()
        world.drain()
        take_stock(world)
        assert open_alerts() == set()
        assert copy_of(backup).status == SnapshotStatus.SUCCEEDED

    def test_a_copy_that_somebody_has_deleted_is_marked(self, world: World, vault: Vault) -> None:
        backup = world.backup(policy_to(vault))
        ec2 = world.client("ec2", of=vault.credentials)
        ec2.delete_snapshot(SnapshotId=copy_of(backup).aws_ref)
        take_stock(world)
        backup.refresh_from_db()
        assert copy_of(backup).status == SnapshotStatus.DELETED
        assert (backup.outcome, backup.dr_status) == (BackupOutcome.SUCCEEDED, CopyStatus.DELETED)

    def test_what_is_marked_as_expired_is_its_owners(self, world: World) -> None:
        vault = Vault(world, *open_account(world, allow_deleting_snapshots=False))
        deletions.delete_in_aws(copy := copy_of(world.backup(policy_to(vault))))
        mark_deleted([copy.pk])
        take_stock(world)
        assert open_alerts() == set()
        assert copy_of(copy.backup).status == SnapshotStatus.DELETED


def take_stock(world: World) -> None:
    """Let AWS's lists settle, and compare what it has with the rows."""
    world.move_to(clock.now() + timedelta(minutes=5))
    inventory.start()  # the first time it only begins to count
    inventory.start()
    world.work()


def until_copying(world: World, backup: Backup) -> str:
    """Back up until AWS is about to make the copies; returns what the first of them is called."""
    world.simulator.config(pending=100_000)
    copying = Operation.objects.filter(dr_copy__backup=backup, effect="copy_snapshot")
    world.work()
    while not copying.exists() or copying.exclude(phase=OperationPhase.STARTED).exists():
        world.simulator.finish()
        assert world.next_look()
        world.work()
    (ref,) = copying.order_by("pk")[0].refs.values()
    return str(ref)


def _calls_of(world: World, vault: Vault) -> set[str]:
    number = vault.credentials.account
    counted = world.simulator.counts_by("account")
    return {row["op"] for row in counted if row["account"] == number}
