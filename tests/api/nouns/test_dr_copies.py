"""Copies elsewhere over the API: three accounts of AWS, entered by roles, and what is in each."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.api.cast import Caller
from tests.api.nouns.cloud import REGION, Cloud
from tests.api.nouns.estate import Estate, connect, create, drain, keys

FAR = "eu-west-1"


@dataclass
class Group:
    """A company: the server's own account, the one that is protected, and the one for copies.

    The server has keys of the first. The others let it in by roles, and ask for a word.
    """

    estate: Estate
    source: Cloud
    vault: Cloud
    vault_id: int

    @property
    def caller(self) -> Caller:
        return self.estate.caller

    def copy_to_vault(self, **values: object) -> None:
        """Have the policy's snapshots copied to the account for copies."""
        across = {"cross_account_enabled": True, "cross_account_dr_account": self.vault_id}
        answer = self.caller.put(f"{self.estate.path}dr/", {"enabled": True, **across, **values})
        assert answer.status == 200, answer.body

    def listed(self, backup: int, collection: str = "dr_volumes") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.caller.get(
            f"/backups/{backup}/snapshots/{collection}/"
        ).json
        return found

    def open_key(self) -> str:
        """A key of the protected account that the account for copies may use; its ARN."""
        principals = [f"arn:aws:iam::{cloud.number}:root" for cloud in (self.source, self.vault)]
        allowed = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
        statement = {**allowed, "Principal": {"AWS": principals}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        made = self.source.client("kms").create_key(Policy=policy)
        return str(made["KeyMetadata"]["Arn"])


def role(cloud: Cloud, trusted: str, word: str) -> dict[str, object]:
    """A role that another account may assume if it knows the word; as the API names it."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{trusted}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": word}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    cloud.client("iam").create_role(RoleName="cpm", AssumeRolePolicyDocument=document)
    named = {"authentication": "A", "account_number": cloud.number, "role_name": "cpm"}
    return {**named, "external_id": word}


@pytest.fixture
def group(managed: Caller, cloud: Cloud, other_cloud: Cloud, third_cloud: Cloud) -> Group:
    hub = connect(managed, third_cloud, name="hub")["id"]
    chain = {"assume_from_account": hub}
    protected = {"name": "prod", **role(cloud, third_cloud.number, "blue"), **chain}
    account = create(managed, "/accounts/backup/", protected)["id"]
    receiving = {"name": "vault", **role(other_cloud, third_cloud.number, "green"), **chain}
    vault = create(managed, "/accounts/dr/", receiving)["id"]
    policy = create(managed, "/policies/", {"name": "nightly", "account": account})["id"]
    return Group(Estate(managed, cloud, account, policy), cloud, other_cloud, vault)


def test_a_copy_in_another_account_is_listed_recovered_and_deleted(group: Group) -> None:
    volume_id = group.source.volume(size_gib=12, Name="data", owner="shop")
    group.estate.target("volumes", volume_id)
    group.copy_to_vault(cross_account_target_regions=[FAR], target_regions=["us-west-2"])
    backup = group.estate.run()
    assert backup["dr_status"]["status"] == "S"
    assert backup["dr_status"]["finish_time"] >= backup["finish_time"]
    (original,) = group.listed(backup["id"], "volumes")
    copies = {each["account"]: each for each in group.listed(backup["id"])}
    assert set(copies) == {group.vault_id, group.estate.account}
    copy = copies[group.vault_id]
    assert copy == {
        **original,
        "id": copy["id"],
        "snapshot_id": copy["snapshot_id"],
        "region": FAR,
        "account": group.vault_id,
        "source_snapshot": original["id"],
        **{name: copy[name] for name in ("start_time", "finish_time")},
    }
    (in_aws,) = group.vault.snapshots(FAR).values()
    assert in_aws["SnapshotId"] == copy["snapshot_id"]
    assert in_aws["OwnerId"] == group.vault.number

    path = f"/backups/{backup['id']}/snapshots/dr_volumes/{copy['id']}/"
    recovery = create(group.caller, f"{path}recover/", {})
    assert (recovery["account"], recovery["region"]) == (group.vault_id, FAR)
    assert group.caller.delete(path).status == 409
    drain()
    done = group.caller.get(f"/recoveries/{recovery['id']}/").json
    assert (done["status"], done["error"]) == ("S", None)
    ec2 = group.vault.client("ec2", FAR)
    (made,) = ec2.describe_volumes(VolumeIds=[done["result_resource_id"]])["Volumes"]
    assert (made["Size"], made["SnapshotId"]) == (12, copy["snapshot_id"])
    assert {"Key": "owner", "Value": "shop"} in made["Tags"]
    assert made["AvailabilityZone"].startswith(FAR)

    assert group.caller.delete(path).status == 204
    assert group.vault.snapshots(FAR) == {}
    assert group.caller.get(path).json["status"] == "D"
    assert group.caller.get(f"/backups/{backup['id']}/").json["dr_status"]["status"] == "S"
    other = copies[group.estate.account]["id"]
    assert group.caller.delete(f"/backups/{backup['id']}/snapshots/dr_volumes/{other}/").status
    assert group.caller.get(f"/backups/{backup['id']}/").json["dr_status"]["status"] == "D"


def test_sharing_between_roles_of_three_accounts_ends_with_the_copy(group: Group) -> None:
    cloud, vault = group.source, group.vault
    key = group.open_key()
    encrypted = {"AvailabilityZone": f"{REGION}a", "Size": 8, "Encrypted": True, "KmsKeyId": key}
    volume_id = cloud.ec2.create_volume(**encrypted)["VolumeId"]
    group.estate.target("volumes", volume_id)
    group.copy_to_vault(cross_account_target_regions=[FAR])
    backup = group.estate.run()
    assert backup["dr_status"]["status"] == "S"

    (original,) = group.listed(backup["id"], "volumes")
    (copy,) = group.listed(backup["id"])
    for owner, region, made in ((cloud, REGION, original), (vault, FAR, copy)):
        named = {"SnapshotId": made["snapshot_id"], "Attribute": "createVolumePermission"}
        shared = owner.client("ec2", region).describe_snapshot_attribute(**named)
        assert shared["CreateVolumePermissions"] == []
    # The protected account has gained nothing in the other one.
    with pytest.raises(ClientError, match="NotFound"):
        cloud.client("ec2", FAR).describe_snapshots(SnapshotIds=[copy["snapshot_id"]])
    in_aws = vault.snapshots(FAR)[copy["snapshot_id"]]
    assert in_aws["Encrypted"]
    assert f":{vault.number}:" in in_aws["KmsKeyId"]

    path = f"/backups/{backup['id']}/snapshots/dr_volumes/{copy['id']}/"
    recovery = create(group.caller, f"{path}recover/", {})
    drain()
    done = group.caller.get(f"/recoveries/{recovery['id']}/").json
    assert (done["status"], done["account"], done["region"]) == ("S", group.vault_id, FAR)
    ec2 = vault.client("ec2", FAR)
    (made,) = ec2.describe_volumes(VolumeIds=[done["result_resource_id"]])["Volumes"]
    assert (made["Encrypted"], made["KmsKeyId"]) == (True, in_aws["KmsKeyId"])


def test_what_is_under_way_is_not_deleted(group: Group) -> None:
    group.estate.target("volumes", group.source.volume())
    group.copy_to_vault()
    backup = group.estate.run_until_copies_are_made()
    one = f"/backups/{backup}/"
    assert group.caller.get(one).json["dr_status"] == {"status": "P", "finish_time": None}
    (original,) = group.listed(backup, "volumes")
    (copy,) = group.listed(backup)
    assert (copy["status"], copy["snapshot_id"] is None) == ("P", False)
    for path in (one, f"{one}snapshots/", f"{one}snapshots/volumes/{original['id']}/"):
        assert group.caller.delete(path).status == 409
    vault = f"/accounts/dr/{group.vault_id}/"
    assert group.caller.delete(vault).status == 400
    off = {"enabled": False, "cross_account_enabled": False, "cross_account_dr_account": None}
    assert group.caller.put(f"{group.estate.path}dr/", off).status == 200
    assert group.caller.delete(vault).status == 409
    group.source.simulator.config(pending=0)
    group.source.simulator.finish()
    drain()
    assert group.caller.get(one).json["dr_status"]["status"] == "S"
    assert group.caller.delete(one).status == 204
    drain()
    assert group.source.snapshots() == group.vault.snapshots() == {}


def test_all_copies_in_an_account_are_deleted_but_for_frozen_ones(group: Group) -> None:
    group.estate.target("volumes", group.source.volume())
    group.copy_to_vault()
    frozen, other = group.estate.run()["id"], group.estate.run()["id"]
    assert group.caller.post(f"/backups/{frozen}/to_freezer/", {"name": "kept"}).status == 200
    path = f"/accounts/dr/{group.vault_id}/snapshots/"
    (kept,), (gone,) = group.listed(frozen), group.listed(other)
    told = {each["snapshot_id"]: each["kept_because"] for each in _dry(group, path)}
    assert told == {kept["snapshot_id"]: "its backup is frozen", gone["snapshot_id"]: None}
    assert group.caller.delete(path).status == 204
    drain()
    assert set(group.vault.snapshots()) == {kept["snapshot_id"]}
    assert group.caller.get(f"/backups/{other}/").json["dr_status"]["status"] == "D"


def test_an_account_that_forbids_deleting_keeps_what_is_marked(group: Group) -> None:
    keep = {"allow_deleting_snapshots": False}
    assert group.caller.put(f"/accounts/dr/{group.vault_id}/", keep).status == 200
    group.estate.target("volumes", group.source.volume())
    group.copy_to_vault()
    backup = group.estate.run()["id"]
    (copy,) = group.listed(backup)
    path = f"/backups/{backup}/snapshots/dr_volumes/{copy['id']}/"
    assert group.caller.delete(path).status == 204
    assert group.caller.get(path).json["status"] == "D"
    (left,) = group.vault.snapshots().values()
    assert "cpm_expired" in {tag["Key"] for tag in left["Tags"]}


def test_a_copy_that_cannot_be_made_says_why(group: Group) -> None:
    zone = f"{REGION}a"
    made = group.source.ec2.create_volume(AvailabilityZone=zone, Size=1, Encrypted=True)
    group.estate.target("volumes", made["VolumeId"])
    group.copy_to_vault()
    backup = group.estate.run()
    assert (backup["status"], backup["dr_status"]["status"]) == ("B", "F")
    (copy,) = group.listed(backup["id"])
    assert (copy["status"], copy["snapshot_id"]) == ("F", None)
    assert "alias/cpm_share" in copy["error"]
    (alert,) = group.caller.get("/alerts/").json
    assert (alert["category"], alert["policy"]) == ("DR", group.estate.policy)
    lines = group.caller.get(f"/backups/{backup['id']}/logs/").json
    assert "alias/cpm_share" in lines[-2]["message"]


def test_a_dr_account_takes_part_in_nothing_but_dr(group: Group, managed: Caller) -> None:
    body = {"name": "x", "account": group.vault_id}
    assert managed.post("/policies/", body).codes == {"account": ["does_not_exist"]}
    assert managed.get(f"/accounts/backup/{group.vault_id}/").status == 404
    assert managed.post("/accounts/dr/", keys(group.vault, name="vault")).status == 400


def _dry(group: Group, path: str) -> list[dict[str, Any]]:
    answer = group.caller.delete(f"{path}?dry_run=true")
    assert answer.status == 200
    found: list[dict[str, Any]] = answer.json
    return found


def test_each_type_is_copied_as_aws_can(group: Group) -> None:
    source = group.source
    encrypted: dict[str, Any] = {"StorageEncrypted": True, "KmsKeyId": group.open_key()}
    for collection, resource_id in (
        ("rds_databases", source.database(**encrypted)),
        ("rds_clusters", source.aurora(**encrypted)),
        ("redshift_clusters", source.warehouse()),
        ("dynamodb_tables", source.table()),
    ):
        group.estate.target(collection, resource_id)
    group.estate.target("instances", source.instance(), backup_option="N")
    group.copy_to_vault(cross_account_target_regions=[FAR], target_regions=[FAR])
    backup = group.estate.run()
    assert (backup["status"], backup["dr_status"]["status"]) == ("B", "S")
    copies = group.listed(backup["id"], "")
    copied = [each for each in copies if each["region"] == FAR]
    assert sorted((each["snapshot_type"], each["account"]) for each in copied) == sorted(
        (collection, account)
        for collection in ("dr_rds_databases", "dr_rds_clusters", "only_dr_amis")
        for account in (group.vault_id, group.estate.account)
    )
    assert {each["status"] for each in copied} == {"S"}
    # What was made on the way there is gone.
    for cloud, region, expected in ((group.vault, REGION, 0), (group.vault, FAR, 1)):
        rds = cloud.client("rds", region)
        for found in (
            rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"],
            rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"],
        ):
            assert len(found) == expected
    # Redshift's is shared where it is.
    redshift = source.client("redshift")
    (shared,) = redshift.describe_cluster_snapshots(SnapshotType="manual")["Snapshots"]
    (account,) = shared["AccountsWithRestoreAccess"]
    assert account["AccountId"] == group.vault.number

    assert group.caller.delete(f"/backups/{backup['id']}/").status == 204
    drain()
    assert redshift.describe_cluster_snapshots(SnapshotType="manual")["Snapshots"] == []
    far = group.vault.client("rds", FAR)
    assert far.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"] == []


def test_what_is_made_on_the_way_is_marked_too_where_deleting_is_forbidden(group: Group) -> None:
    keep = {"allow_deleting_snapshots": False}
    group.caller.put(f"/accounts/dr/{group.vault_id}/", keep)
    encrypted: dict[str, Any] = {"StorageEncrypted": True, "KmsKeyId": group.open_key()}
    group.estate.target("rds_databases", group.source.database(**encrypted))
    group.copy_to_vault(cross_account_target_regions=[FAR])
    backup = group.estate.run()
    assert backup["dr_status"]["status"] == "S"
    rds = group.vault.client("rds")
    (between,) = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert "cpm_expired" in {tag["Key"] for tag in between["TagList"]}
    far = group.vault.client("rds", FAR)
    (copy,) = far.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert "cpm_expired" not in {tag["Key"] for tag in copy["TagList"]}


def test_a_database_comes_back_from_its_copy_in_another_account(group: Group) -> None:
    group.estate.target("rds_databases", group.source.database())
    group.copy_to_vault(cross_account_target_regions=[FAR])
    backup = group.estate.run()["id"]
    (copy,) = group.listed(backup, "dr_rds_databases")
    path = f"/backups/{backup}/snapshots/dr_rds_databases/{copy['id']}/recover/"
    recovery = create(group.caller, path, {})
    drain()
    done = group.caller.get(f"/recoveries/{recovery['id']}/").json
    assert (done["status"], done["error"]) == ("S", None)
    found = group.vault.client("rds", FAR).describe_db_instances()["DBInstances"]
    assert [each["DBInstanceIdentifier"] for each in found] == [done["result_resource_id"]]


@pytest.mark.parametrize("backup_option", ["S", "I", "N"])
def test_an_instance_comes_back_from_its_copies_in_another_account(
    group: Group, backup_option: str
) -> None:
    group.estate.target("instances", group.source.instance(), backup_option=backup_option)
    group.copy_to_vault(cross_account_target_regions=[FAR])
    backup = group.estate.run()
    assert backup["dr_status"]["status"] == "S"
    (whole,) = group.listed(backup["id"], "instances")
    path = f"/backups/{backup['id']}/snapshots/instances/{whole['id']}/recover/"
    recovery = create(group.caller, path, {"source": "dr", "region": FAR})
    drain()
    done = group.caller.get(f"/recoveries/{recovery['id']}/").json
    assert (done["status"], done["error"]) == ("S", None)
    ec2 = group.vault.client("ec2", FAR)
    found = ec2.describe_instances(InstanceIds=[done["result_resource_id"]])
    (instance,) = found["Reservations"][0]["Instances"]
    assert instance["State"]["Name"] == "running"
    assert len(instance["BlockDeviceMappings"]) == 2


@pytest.mark.parametrize("option", ["I", "A"])
def test_windows_comes_back_in_another_account_and_region(group: Group, option: str) -> None:
    instance_id = group.source.ec2.run_instances(
        ImageId="ami-0fedcba0987654321",
        MinCount=1,
        MaxCount=1,
        InstanceType="t3.large",
        BlockDeviceMappings=[{"DeviceName": "xvdf", "Ebs": {"VolumeSize": 20}}],
    )["Instances"][0]["InstanceId"]
    group.estate.target("instances", instance_id, backup_option=option)
    group.copy_to_vault(cross_account_target_regions=[FAR])
    backup = group.estate.run()
    assert backup["dr_status"]["status"] == "S"
    (row,) = group.caller.get(f"/backups/{backup['id']}/snapshots/instances/").json
    wanted = {"source": "dr", "region": FAR, "account": group.vault_id}
    path = f"/backups/{backup['id']}/snapshots/instances/{row['id']}/recover/"
    recovery = create(group.caller, path, wanted)
    drain()
    done = group.caller.get(f"/recoveries/{recovery['id']}/").json
    assert (done["status"], done["error"]) == ("S", None), done["error"]
    assert done["region"] == FAR
    ec2 = group.vault.client("ec2", FAR)
    found = ec2.describe_instances(InstanceIds=[done["result_resource_id"]])
    (made,) = found["Reservations"][0]["Instances"]
    assert (made["Platform"], made["State"]["Name"]) == ("windows", "running")
    (ami,) = group.listed(backup["id"], {"I": "dr_initial_amis", "A": "only_dr_amis"}[option])
    assert made["ImageId"] == ami["snapshot_id"]
    volumes = [each["Ebs"]["VolumeId"] for each in made["BlockDeviceMappings"]]
    origins = {each["SnapshotId"] for each in ec2.describe_volumes(VolumeIds=volumes)["Volumes"]}
    (image,) = ec2.describe_images(ImageIds=[ami["snapshot_id"]])["Images"]
    behind = {each["Ebs"]["SnapshotId"] for each in image["BlockDeviceMappings"]}
    copies = {each["snapshot_id"] for each in group.listed(backup["id"])}
    assert origins == (copies if option == "I" else behind)
    assert len(ec2.describe_volumes()["Volumes"]) == 2
