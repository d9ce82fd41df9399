"""An account whose tags are scanned, and what came of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from cpm.engine import tagscan
from cpm.engine.settings import TagScanning
from cpm.kernel.tagspec import KEYS
from cpm.models.events import Event, Severity, Stream
from cpm.models.policies import Policy, Target
from tests.engine.world import REGION, World

KEY, OTHER_KEY = KEYS
US_EAST_1, EU_WEST_1 = 2, 1

_WINDOWS_IMAGE = "ami-0fedcba0987654321"


@dataclass
class Tagging:
    """The world's account, scanned in its first region alone unless told otherwise."""

    world: World

    def __post_init__(self) -> None:
        self.world.account.scan_tagged_resources = True
        self.world.account.scan_regions = [US_EAST_1]
        self.world.account.save()
        self._last_line = 0

    # --- AWS ------------------------------------------------------------------------------

    @cached_property
    def ec2(self) -> Any:
        return self.world.ec2()

    def instance(self, value: str | None = None, *, volumes: int = 1, **more: str) -> str:
        """A running instance, tagged if there is a value to tag it with."""
        (instance_id,) = self.world.seed(instances=1, volumes_per=volumes)["instances"]
        self.tag([instance_id], value, **more)
        return str(instance_id)

    def windows(self, value: str) -> str:
        """The same under Windows."""
        made = self.ec2.run_instances(
            ImageId=_WINDOWS_IMAGE, MinCount=1, MaxCount=1, InstanceType="t3.micro"
        )
        instance_id: str = made["Instances"][0]["InstanceId"]
        self.tag([instance_id], value)
        return instance_id

    def volume(self, value: str | None = None, **more: str) -> str:
        """A volume that belongs to no instance."""
        volume_id = self.world.volume()
        self.tag([volume_id], value, **more)
        return volume_id

    def volumes_of(self, instance_id: str) -> list[str]:
        """The volumes of an instance, the root first."""
        found = self.ec2.describe_instances(InstanceIds=[instance_id])
        (instance,) = found["Reservations"][0]["Instances"]
        mappings = instance["BlockDeviceMappings"]
        by_device = {each["DeviceName"]: each["Ebs"]["VolumeId"] for each in mappings}
        root = by_device.pop(instance["RootDeviceName"])
        return [root, *(by_device[device] for device in sorted(by_device))]

    def cluster(self, name: str, value: str | None = None) -> str:
        """A Redshift cluster."""
        self.world.client("redshift").create_cluster(
            ClusterIdentifier=name,
            NodeType="ra3.xlplus",
            NumberOfNodes=2,
            ClusterType="multi-node",
            MasterUsername="admin",
            MasterUserPassword="Secret-secret1",
            Tags=_listed(value),
        )
        return name

    def table(self, name: str, value: str | None = None) -> str:
        """A DynamoDB table."""
        self.world.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=_listed(value),
        )
        return name

    def database(self, name: str, value: str | None = None, *, member_of: str = "") -> str:
        """A DB instance, standing alone or as a member of an Aurora cluster."""
        wanted: dict[str, Any] = {"Engine": "aurora-mysql", "DBClusterIdentifier": member_of}
        if not member_of:
            login = {"MasterUsername": "admin", "MasterUserPassword": "secret-secret"}
            wanted = {"Engine": "mysql", "AllocatedStorage": 20, **login}
        self.world.client("rds").create_db_instance(
            DBInstanceIdentifier=name, DBInstanceClass="db.t3.medium", Tags=_listed(value), **wanted
        )
        return name

    def aurora(self, name: str, value: str | None = None) -> str:
        """An Aurora cluster without members."""
        self.world.client("rds").create_db_cluster(
            DBClusterIdentifier=name,
            Engine="aurora-mysql",
            MasterUsername="admin",
            MasterUserPassword="secret-secret",
            Tags=_listed(value),
        )
        return name

    def tag_database(self, noun: str, name: str, value: str | None) -> None:
        """Write the tag of an instance (`db`) or a cluster; no value takes it away."""
        arn = f"arn:aws:rds:{REGION}:{self.world.credentials.account}:{noun}:{name}"
        rds = self.world.client("rds")
        rds.remove_tags_from_resource(ResourceName=arn, TagKeys=[KEY])
        if value is not None:
            rds.add_tags_to_resource(ResourceName=arn, Tags=_listed(value))

    def tag(self, resource_ids: Iterable[str], value: str | None, **more: str) -> None:
        """Write tags on instances and volumes; no value takes the product's tags away."""
        tags = {**({KEY: value} if value is not None else {}), **more}
        listed = [{"Key": key, "Value": text} for key, text in tags.items()]
        if listed:
            self.ec2.create_tags(Resources=list(resource_ids), Tags=listed)

    def untag(self, *resource_ids: str) -> None:
        """Take the product's tags away."""
        keys = [{"Key": key} for key in KEYS]
        self.ec2.delete_tags(Resources=list(resource_ids), Tags=keys)

    # --- the scan -------------------------------------------------------------------------

    def policy(self, name: str, *targets: Target, **columns: Any) -> Policy:
        """A policy of the account."""
        return self.world.policy(*targets, name=name, **columns)

    def scan(self) -> dict[str, int]:
        """Scan once; the sums that the log ends with."""
        before = Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        self._last_line = before
        tagscan.start()
        self.world.work()
        finished = Event.objects.filter(code="scan_finished", pk__gt=before)
        totals = {"added": 0, "removed": 0, "changed": 0, "problems": 0}
        for line in finished:
            for name in totals:
                totals[name] += line.values[name]
        return totals

    def wait(self, span: timedelta) -> None:
        """Let time pass."""
        self.world.pass_time(span)

    def problems(self) -> list[tuple[str, str]]:
        """What the last scan warned of: codes and resources."""
        lines = self._lines().exclude(severity=Severity.INFO)
        return [(line.code, line.values.get("resource", "")) for line in lines.order_by("pk")]

    def codes(self) -> list[str]:
        """What the last scan has logged."""
        return list(self._lines().order_by("pk").values_list("code", flat=True))

    def _lines(self) -> Any:
        return Event.objects.filter(stream=Stream.TAG_SCAN, pk__gt=self._last_line)


def _listed(value: str | None) -> list[Any]:
    return [] if value is None else [{"Key": KEY, "Value": value}]


def targets_of(policy: Policy | str) -> dict[str, Target]:
    """The targets of a policy, by resource."""
    name = policy if isinstance(policy, str) else policy.name
    return {target.resource_id: target for target in Target.objects.filter(policy__name=name)}


def by_tag(*names: str) -> dict[str, list[str]]:
    """What tags have added to policies, by name."""
    return {
        name: sorted(each.resource_id for each in targets_of(name).values() if each.added_by_tag)
        for name in names
    }


def left_out(target: Target) -> Sequence[str]:
    """The volumes that tags leave out of a target."""
    rows = target.volumes.filter(added_by_tag=True).order_by("volume_id")
    return list(rows.values_list("volume_id", flat=True))


def is_under_way() -> bool:
    """Whether a round of scans is."""
    return TagScanning.current().is_under_way
