"""The sample estate: what two emulated accounts hold before the demo protects them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cpm.aws.credentials import StaticKeys
from cpm.aws.sessions import Aws, Cloud
from cpm.demo.state import DemoAccount
from cpm.simulator.process import Simulator

HOME_REGION = "us-east-1"
OTHER_REGION = "eu-west-1"
SIZES_GIB = (8, 16, 32)


@dataclass(frozen=True)
class Group:
    """Machines that are alike, in one account and region."""

    region: str
    names: tuple[str, ...]
    volumes_each: int
    tags: Mapping[str, str]


MACHINES = {
    "production": (
        Group(HOME_REGION, ("web-1", "web-2"), 2, {"tier": "web", "owner": "shop"}),
        Group(HOME_REGION, ("db-1",), 3, {"tier": "data", "owner": "shop"}),
        Group(OTHER_REGION, ("web-eu-1",), 2, {"tier": "web", "owner": "shop"}),
    ),
    "staging": (Group(HOME_REGION, ("test-1", "test-2"), 1, {"tier": "test"}),),
}
LOOSE_VOLUMES = ("archive", "scratch")
DATABASE = "orders"


@dataclass(frozen=True)
class InAws:
    """A snapshot as AWS has it."""

    snapshot_id: str
    resource_id: str
    size_gib: int
    region: str
    state: str
    started_at: datetime


class Estate:
    """The emulated accounts as the demo sees them."""

    def __init__(self, simulator: Simulator, accounts: list[DemoAccount]) -> None:
        self._simulator = simulator
        self._cloud = Cloud(endpoint_url=simulator.endpoint)
        self._accounts = {account.name: account for account in accounts}

    def aws(self, account: str, region: str) -> Aws:
        """One account in one region, with the account's own keys."""
        known = self._accounts[account]
        keys = StaticKeys(known.access_key_id, known.secret_access_key)
        return self._cloud.aws(keys, region, known.account_number)

    def build(self) -> None:
        """Makes the estate, unless an earlier start has made it."""
        if any(self.instances("production", HOME_REGION)):
            return
        for account, groups in MACHINES.items():
            for group in groups:
                self._launch(account, group)
        for name in LOOSE_VOLUMES:
            self._create_volume("production", name)
        self._create_databases("production")

    def instances(self, account: str, region: str) -> Iterator[dict[str, Any]]:
        """The instances as EC2 describes them."""
        reservations = self.aws(account, region).pages("ec2", "DescribeInstances", "Reservations")
        for reservation in reservations:
            yield from reservation["Instances"]

    def volumes(self, account: str, region: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The volumes as EC2 describes them."""
        return self.aws(account, region).pages("ec2", "DescribeVolumes", "Volumes", **parameters)

    def snapshots(self, account: str, region: str, policy: str) -> list[InAws]:
        """The snapshots that the server has made for a policy, by its tag, newest first."""
        aws = self.aws(account, region)
        found = [*_volume_snapshots(aws, policy), *_database_snapshots(aws, policy)]
        return sorted(found, key=lambda snapshot: snapshot.started_at, reverse=True)

    def _launch(self, account: str, group: Group) -> None:
        known = self._accounts[account]
        made = self._simulator.seed(
            account=known.account_number,
            region=group.region,
            instances=len(group.names),
            volumes_per=group.volumes_each,
            tags=dict(group.tags),
        )
        for instance_id, name in zip(made["instances"], group.names, strict=True):
            self._name(account, group.region, instance_id, name)
            attached = {"Name": "attachment.instance-id", "Values": [instance_id]}
            for volume in self.volumes(account, group.region, Filters=[attached]):
                device = volume["Attachments"][0]["Device"].rpartition("/")[2]
                self._name(account, group.region, volume["VolumeId"], f"{name}-{device}")

    def _create_volume(self, account: str, name: str) -> None:
        self.aws(account, HOME_REGION).call(
            "ec2",
            "CreateVolume",
            AvailabilityZone=f"{HOME_REGION}a",
            Size=SIZES_GIB[len(name) % len(SIZES_GIB)],
            VolumeType="gp3",
            TagSpecifications=[
                {
                    "ResourceType": "volume",
                    "Tags": [{"Key": "Name", "Value": name}, {"Key": "owner", "Value": "shop"}],
                }
            ],
        )

    def _create_databases(self, account: str) -> None:
        aws = self.aws(account, HOME_REGION)
        aws.call(
            "rds",
            "CreateDBInstance",
            DBInstanceIdentifier=DATABASE,
            DBInstanceClass="db.t3.medium",
            Engine="postgres",
            AllocatedStorage=20,
            MasterUsername="orders",
            MasterUserPassword="not-a-secret-here",
        )
        aws.call(
            "dynamodb",
            "CreateTable",
            TableName="sessions",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def _name(self, account: str, region: str, resource_id: str, name: str) -> None:
        self.aws(account, region).call(
            "ec2", "CreateTags", Resources=[resource_id], Tags=[{"Key": "Name", "Value": name}]
        )


def _volume_snapshots(aws: Aws, policy: str) -> Iterator[InAws]:
    mine = {"Name": "tag:cpm_policy_name", "Values": [policy]}
    for each in aws.pages(
        "ec2", "DescribeSnapshots", "Snapshots", OwnerIds=["self"], Filters=[mine]
    ):
        size, state, started_at = each["VolumeSize"], each["State"], each["StartTime"]
        yield InAws(each["SnapshotId"], each["VolumeId"], size, aws.region, state, started_at)


def _database_snapshots(aws: Aws, policy: str) -> Iterator[InAws]:
    for each in aws.pages("rds", "DescribeDBSnapshots", "DBSnapshots", SnapshotType="manual"):
        if {"Key": "cpm_policy_name", "Value": policy} in each["TagList"]:
            yield InAws(
                each["DBSnapshotIdentifier"],
                each["DBInstanceIdentifier"],
                each["AllocatedStorage"],
                aws.region,
                each["Status"],
                each["SnapshotCreateTime"],
            )
