"""Copies of databases and clusters in other regions and accounts, through the whole engine."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from cpm.aws import tags
from cpm.kernel import regions
from cpm.models.accounts import Account
from cpm.models.backups import CopyStatus
from cpm.models.policies import Policy, Target
from cpm.models.recoveries import RecoveryOutcome
from cpm.models.snapshots import Snapshot
from cpm.resources import registry
from cpm.simulator.process import Credentials
from tests.engine.world import OTHER_REGION, REGION, World, open_account, start_recovery

THIRD_REGION = "us-west-2"


@dataclass
class Vault:
    """The account that receives copies."""

    world: World
    account: Account
    credentials: Credentials

    def snapshots(self, region: str = REGION) -> dict[str, Any]:
        """What the account has, by name."""
        return manual(self.world.client("rds", region, of=self.credentials))


@pytest.fixture
def vault(world: World) -> Vault:
    return Vault(world, *open_account(world))


def manual(rds: Any) -> dict[str, Any]:
    """The snapshots of instances and clusters that somebody asked for, by name."""
    instances = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    clusters = rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]
    return {each["DBSnapshotIdentifier"]: each for each in instances} | {
        each["DBClusterSnapshotIdentifier"]: each for each in clusters
    }


def ids(*names: str) -> list[int]:
    return [region.id for region in map(regions.by_name, names) if region is not None]


def make_key(world: World, *accounts: str) -> str:
    """A key of the source that these accounts may use, too; its ARN."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam::{account}:root" for account in accounts]},
        "Action": "kms:*",
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return str(world.client("kms").create_key(Policy=policy)["KeyMetadata"]["Arn"])


def database(world: World, name: str = "orders", **more: Any) -> Target:
    """A database as a policy names it."""
    world.client("rds").create_db_instance(
        DBInstanceIdentifier=name,
        DBInstanceClass="db.m5.large",
        Engine="mysql",
        EngineVersion="8.0.35",
        AllocatedStorage=20,
        MasterUsername="admin",
        MasterUserPassword="secret-secret",
        Tags=tags.to_aws({"team": "red"}),
        **more,
    )
    return Target(kind="rds_database", resource_id=name, region=REGION)


def policy_to(vault: Vault, target: Target, *names: str) -> Policy:
    """A policy whose snapshots are copied to these regions of the other account."""
    crossing = {"dr_crosses_accounts": True, "dr_account": vault.account}
    return vault.world.policy(target, dr_enabled=True, dr_account_regions=ids(*names), **crossing)


def receivers(world: World, name: str) -> list[str]:
    """The accounts that a snapshot is shared with."""
    found = world.client("rds").describe_db_snapshot_attributes(DBSnapshotIdentifier=name)
    (attribute,) = found["DBSnapshotAttributesResult"]["DBSnapshotAttributes"]
    return list(attribute["AttributeValues"])


def test_databases_and_clusters_are_copied_to_another_region(world: World) -> None:
    (cluster,) = world.seed(clusters=1)["clusters"]
    targets = [database(world), Target(kind="rds_cluster", resource_id=cluster, region=REGION)]
    policy = world.policy(*targets, dr_enabled=True, dr_regions=ids(OTHER_REGION))
    backup = world.backup(policy)
    assert backup.dr_status == CopyStatus.SUCCEEDED
    there = manual(world.client("rds", OTHER_REGION))
    copies = Snapshot.objects.filter(backup=backup, region=OTHER_REGION)
    assert set(copies.values_list("collection", flat=True)) == {
        *("dr_rds_clusters", "dr_rds_databases"),
    }
    assert set(copies.values_list("aws_ref", flat=True)) == set(there)


def test_an_encrypted_copy_in_another_account_and_region_leaves_no_trace_on_its_way(
    world: World, vault: Vault
) -> None:
    key = make_key(world, world.credentials.account, vault.credentials.account)
    target = database(world, StorageEncrypted=True, KmsKeyId=key)
    backup = world.backup(policy_to(vault, target, OTHER_REGION))
    assert backup.dr_status == CopyStatus.SUCCEEDED
    copy = Snapshot.objects.get(backup=backup, collection="dr_rds_databases")
    (arrived,) = vault.snapshots(OTHER_REGION).values()
    assert arrived["DBSnapshotIdentifier"] == copy.aws_ref
    assert arrived["KmsKeyId"] != key
    assert (
        tags.from_aws(arrived["TagList"]).items()
        >= {
            "team": "red",
            tags.BACKUP_ID: str(backup.pk),
        }.items()
    )
    assert vault.snapshots() == {}
    (original,) = manual(world.client("rds"))
    assert receivers(world, original) == []

    driver = registry.driver("rds_database")
    resource = (copy.resource_id, copy.resource_name, copy.facts)
    recovery = start_recovery(driver, backup, resource, [copy], {})
    world.drain()
    recovery.refresh_from_db()
    assert recovery.outcome == RecoveryOutcome.SUCCEEDED
    rds = world.client("rds", OTHER_REGION, of=vault.credentials)
    (made,) = rds.describe_db_instances(DBInstanceIdentifier="orders")["DBInstances"]
    assert made["KmsKeyId"] == arrived["KmsKeyId"]


def test_what_aws_s_own_key_encrypts_goes_by_way_of_another_key(world: World, vault: Vault) -> None:
    key = make_key(world, world.credentials.account, vault.credentials.account)
    alias = {"AliasName": "alias/cpm_share", "TargetKeyId": key.rpartition("/")[2]}
    world.client("kms").create_alias(**alias)
    backup = world.backup(policy_to(vault, database(world, StorageEncrypted=True)))
    assert backup.dr_status == CopyStatus.SUCCEEDED
    assert len(vault.snapshots()) == 1
    (original,) = manual(world.client("rds"))
    assert receivers(world, original) == []


def test_copies_in_two_regions_of_an_account_do_not_end_each_other_s_sharing(
    world: World, vault: Vault
) -> None:
    policy = policy_to(vault, database(world), OTHER_REGION, THIRD_REGION)
    # One of them comes so late that the other is over.
    late = {"op": "rds:CopyDBSnapshot", "kind": "503", "region": THIRD_REGION, "times": 4}
    world.simulator.faults([late])
    backup = world.backup(policy)
    assert backup.dr_status == CopyStatus.SUCCEEDED
    assert len(vault.snapshots(OTHER_REGION)) == len(vault.snapshots(THIRD_REGION)) == 1
    (original,) = manual(world.client("rds"))
    assert receivers(world, original) == []
