"""AMIs in other regions and accounts: copied, shared as long as it takes, and shared by records."""

from datetime import timedelta
from typing import Any

import pytest

from cpm.aws import tags
from cpm.engine import deletions, tick
from cpm.kernel import clock, regions
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupOutcome, CopyStatus
from cpm.models.policies import Policy
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.simulator.process import Credentials
from tests.engine.world import OTHER_REGION, REGION, World, instance_target, open_account

Place = tuple[Credentials, str]


@pytest.fixture
def vault(world: World) -> tuple[Account, Credentials]:
    return open_account(world)


def instance(world: World) -> str:
    (instance_id,) = world.seed(instances=1, volumes_per=2, tags={"team": "red"})["instances"]
    return str(instance_id)


def encrypted_instance(world: World) -> str:
    """An instance whose root volume AWS's own key encrypts."""
    ec2 = world.ec2()
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    device = {"DeviceName": "/dev/xvda", "Ebs": {"Encrypted": True}}
    made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, BlockDeviceMappings=[device])
    return str(made["Instances"][0]["InstanceId"])


def policy_to(world: World, instance_id: str, option: str = "N", **columns: Any) -> Policy:
    """A policy whose AMIs are copied to another region, or to where the columns say."""
    region = regions.by_name(OTHER_REGION)
    assert region is not None
    columns = {"dr_regions": [region.id], **columns} if "dr_account" not in columns else columns
    target = instance_target(instance_id, backup_option=option)
    return world.policy(target, dr_enabled=True, **columns)


def across(vault: tuple[Account, Credentials]) -> dict[str, Any]:
    return {"dr_crosses_accounts": True, "dr_account": vault[0]}


def images(world: World, place: Place | None = None) -> dict[str, Any]:
    credentials, region = place or (world.credentials, OTHER_REGION)
    ec2 = world.client("ec2", region, of=credentials)
    return {each["ImageId"]: each for each in ec2.describe_images(Owners=["self"])["Images"]}


def snapshots(world: World, place: Place | None = None) -> dict[str, Any]:
    credentials, region = place or (world.credentials, OTHER_REGION)
    found = world.client("ec2", region, of=credentials).describe_snapshots(OwnerIds=["self"])
    return {each["SnapshotId"]: each for each in found["Snapshots"]}


def given(world: World, vault: tuple[Account, Credentials]) -> list[str]:
    """What the other account could use of the first one's."""
    ec2 = world.client("ec2", of=vault[1])
    own = world.credentials.account
    found = ec2.describe_images(Owners=[own])["Images"]
    parts = ec2.describe_snapshots(OwnerIds=[own])["Snapshots"]
    return [each["ImageId"] for each in found] + [each["SnapshotId"] for each in parts]


def copies_of(backup: Backup) -> list[Snapshot]:
    rows = Snapshot.objects.filter(backup=backup, source_snapshot__isnull=False)
    return list(rows.exclude(collection="dr_volumes").order_by("pk"))


class TestOnlyAmis:
    """An AMI that is the backup has an AMI as its copy."""

    def test_it_is_copied_with_its_snapshots_and_its_tags(self, world: World) -> None:
        instance_id = instance(world)
        backup = world.backup(policy_to(world, instance_id))
        assert backup.dr_status == CopyStatus.SUCCEEDED
        (copy,) = copies_of(backup)
        assert (copy.collection, copy.instance_id) == ("only_dr_amis", instance_id)
        (image,) = images(world).values()
        assert (image["ImageId"], image["State"]) == (copy.aws_ref, "available")
        parts = snapshots(world)
        assert set(parts) == set(copy.facts["snapshots"].values())
        for made in (image, *parts.values()):
            carried = tags.from_aws(made["Tags"])
            assert carried["team"] == "red"
            assert carried[tags.BACKUP_ID] == str(backup.pk)

    def test_it_is_deleted_with_its_snapshots(self, world: World) -> None:
        backup = world.backup(policy_to(world, instance(world)))
        deletions.request(deletions.of_backup(backup))
        world.drain()
        backup.refresh_from_db()
        assert (backup.outcome, backup.dr_status) == (BackupOutcome.DELETED, CopyStatus.DELETED)
        for place in ((world.credentials, REGION), (world.credentials, OTHER_REGION)):
            assert images(world, place) == snapshots(world, place) == {}

    def test_another_account_gets_its_own_and_no_more(
        self, world: World, vault: tuple[Account, Credentials]
    ) -> None:
        backup = world.backup(policy_to(world, instance(world), **across(vault)))
        (copy,) = copies_of(backup)
        assert set(images(world, (vault[1], REGION))) == {copy.aws_ref}
        assert set(snapshots(world, (vault[1], REGION))) == set(copy.facts["snapshots"].values())
        assert given(world, vault) == []

    def test_what_awss_own_key_encrypts_is_shared_under_another_key(
        self, world: World, vault: tuple[Account, Credentials]
    ) -> None:
        kms = world.client("kms")
        principals = f"arn:aws:iam::{world.credentials.account}:root", vault[1].account
        statement = (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*",'
            ' "Resource": "*", "Principal": {"AWS": ["%s", "arn:aws:iam::%s:root"]}}]}'
        )
        key = kms.create_key(Policy=statement % principals)["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/cpm_share", TargetKeyId=key)
        backup = world.backup(policy_to(world, encrypted_instance(world), **across(vault)))
        assert backup.dr_status == CopyStatus.SUCCEEDED
        (part,) = snapshots(world, (vault[1], REGION)).values()
        assert vault[1].account in part["KmsKeyId"]
        assert given(world, vault) == []
        # Of the original there is the AMI that is the backup, and its snapshot.
        assert len(images(world, (world.credentials, REGION))) == 1
        assert len(snapshots(world, (world.credentials, REGION))) == 1

    def test_without_such_a_key_the_copy_fails_and_says_so(
        self, world: World, vault: tuple[Account, Credentials]
    ) -> None:
        backup = world.backup(policy_to(world, encrypted_instance(world), **across(vault)))
        (copy,) = copies_of(backup)
        assert "alias/cpm_share" in copy.error
        assert backup.dr_status == CopyStatus.FAILED

    @pytest.mark.parametrize(
        "op", ["ec2:ModifyImageAttribute", "ec2:ModifySnapshotAttribute", "ec2:CopyImage"]
    )
    def test_whatever_is_denied_nothing_is_left_over(
        self, world: World, vault: tuple[Account, Credentials], op: str
    ) -> None:
        # The first snapshot may be shared, the second one may not.
        late = {"op": op, "kind": "delay", "seconds": 0, "times": op.count("Snapshot")}
        backup = tick.run_now(policy_to(world, instance(world), **across(vault)))
        world.simulator.faults([late, {"op": op, "kind": "denied", "times": 3}])
        world.drain()
        backup.refresh_from_db()
        assert backup.dr_status == CopyStatus.FAILED
        assert given(world, vault) == []
        assert images(world, (vault[1], REGION)) == snapshots(world, (vault[1], REGION)) == {}

    @pytest.mark.parametrize("kind", ["lost", "500"])
    def test_an_answer_that_is_lost_makes_no_second_ami(self, world: World, kind: str) -> None:
        world.simulator.faults([{"op": "ec2:CopyImage", "kind": kind, "times": 1}])
        backup = world.backup(policy_to(world, instance(world)))
        assert [copy.aws_ref for copy in copies_of(backup)] == list(images(world))
        assert len(snapshots(world)) == 2

    def test_an_account_that_forbids_deleting_keeps_it_with_a_mark(self, world: World) -> None:
        vault = open_account(world, allow_deleting_snapshots=False)
        backup = world.backup(policy_to(world, instance(world), **across(vault)))
        deletions.request(deletions.of_backup(backup))
        world.drain()
        left = [
            *images(world, (vault[1], REGION)).values(),
            *snapshots(world, (vault[1], REGION)).values(),
        ]
        assert len(left) == 3
        assert all(tags.EXPIRED in tags.from_aws(each["Tags"]) for each in left)

    def test_what_its_owner_has_shared_himself_stays_shared(
        self, world: World, vault: tuple[Account, Credentials]
    ) -> None:
        instance_id = instance(world)
        ec2 = world.ec2()
        own = ec2.create_image(InstanceId=instance_id, Name="golden")["ImageId"]
        user = {"OperationType": "add", "UserIds": [vault[1].account]}
        ec2.modify_image_attribute(ImageId=own, Attribute="launchPermission", **user)
        target = instance_target(instance_id, backup_option="I", initial_ami=own)
        backup = world.backup(world.policy(target, dr_enabled=True, **across(vault)))
        assert backup.dr_status == CopyStatus.SUCCEEDED
        assert given(world, vault) == [own]


class TestInitialAmis:
    """Records share the copy of the AMI that they share."""

    def test_the_first_record_makes_the_copy_and_later_ones_refer_to_it(self, world: World) -> None:
        policy = policy_to(world, instance(world), "I")
        first, second = world.backup(policy), world.backup(policy)
        (made,), (referred,) = copies_of(first), copies_of(second)
        assert made.collection == referred.collection == "dr_initial_amis"
        assert made.aws_ref == referred.aws_ref
        assert set(images(world)) == {made.aws_ref}
        assert (first.dr_status, second.dr_status) == (CopyStatus.SUCCEEDED, CopyStatus.SUCCEEDED)

    def test_it_outlives_the_record_that_made_it_and_goes_with_the_last(self, world: World) -> None:
        policy = policy_to(world, instance(world), "I", generations=1)
        first, second = world.backup(policy), world.backup(policy)
        world.drain()
        first.refresh_from_db()
        assert (first.outcome, first.dr_status) == (BackupOutcome.DELETED, CopyStatus.DELETED)
        (gone,), (kept,) = copies_of(first), copies_of(second)
        assert (gone.status, kept.status) == (SnapshotStatus.DELETED, SnapshotStatus.SUCCEEDED)
        assert set(images(world)) == {kept.aws_ref}
        deletions.request(deletions.of_policy(policy))
        world.drain()
        assert images(world) == snapshots(world) == {}

    def test_it_is_replaced_with_what_it_is_a_copy_of(self, world: World) -> None:
        policy = policy_to(world, instance(world), "I", generations=1)
        (old,) = copies_of(world.backup(policy))
        world.move_to(clock.now() + timedelta(days=31))
        (new,) = copies_of(world.backup(policy))
        world.drain()
        assert new.aws_ref != old.aws_ref
        assert set(images(world)) == {new.aws_ref}

    def test_one_that_somebody_has_taken_away_is_made_again(self, world: World) -> None:
        policy = policy_to(world, instance(world), "I")
        (lost,) = copies_of(world.backup(policy))
        world.ec2(OTHER_REGION).deregister_image(ImageId=lost.aws_ref)
        (made,) = copies_of(world.backup(policy))
        assert set(images(world)) == {made.aws_ref} != {lost.aws_ref}

    def test_one_that_is_being_made_for_another_record_is_waited_for(self, world: World) -> None:
        policy = policy_to(world, instance(world), "I")
        world.simulator.config(pending=100_000)
        backups = [tick.run_now(policy)]
        while "ec2:CopyImage" not in world.simulator.counts():
            world.work()
            world.simulator.finish()
            assert world.next_look()
        world.simulator.config(pending=0)
        backups.append(tick.run_now(policy))
        world.pass_time(timedelta(minutes=2))
        assert world.simulator.counts()["ec2:CopyImage"] == 1
        world.simulator.finish()
        world.drain()
        (made,), (referred,) = map(copies_of, backups)
        assert made.aws_ref == referred.aws_ref
        assert set(images(world)) == {made.aws_ref}

    def test_originals_that_records_share_stay_although_originals_are_not_kept(
        self, world: World
    ) -> None:
        policy = policy_to(world, instance(world), "I", dr_keeps_originals=False)
        backup = world.backup(policy)
        left = Snapshot.objects.filter(backup=backup, region=REGION, status="S")
        assert set(left.values_list("collection", flat=True)) == {"initial_amis"}

    def test_the_copy_of_an_ami_that_its_owner_names_is_ours(self, world: World) -> None:
        instance_id = instance(world)
        own = world.ec2().create_image(InstanceId=instance_id, Name="golden")["ImageId"]
        target = instance_target(instance_id, backup_option="I", initial_ami=own)
        region = regions.by_name(OTHER_REGION)
        assert region is not None
        backup = world.backup(world.policy(target, dr_enabled=True, dr_regions=[region.id]))
        (copy,) = copies_of(backup)
        assert set(images(world)) == {copy.aws_ref}
        deletions.request(deletions.of_backup(backup))
        world.drain()
        assert images(world) == {}
        assert set(images(world, (world.credentials, REGION))) == {own}
