"""What the driver suite has to know of Redshift clusters."""

import uuid
from collections.abc import Mapping
from typing import Any

from cpm.aws import tags
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources.contract import Json, Order, Refs, Resource
from cpm.testing.stage import REGION, RecoveryCase, Rig, Stage

ROLE = "arn:aws:iam::111122223333:role/loader"
OTHER_ACCOUNT = "111122223333"


def subnet_group(stage: Stage, name: str = "warehouse") -> str:
    """A subnet group over the first two zones, made when it is not there."""
    hand = stage.hand
    groups = hand.call("redshift", "DescribeClusterSubnetGroups")["ClusterSubnetGroups"]
    if name not in {group["ClusterSubnetGroupName"] for group in groups}:
        zones = {"Name": "availability-zone", "Values": [f"{REGION}a", f"{REGION}b"]}
        subnets = hand.call("ec2", "DescribeSubnets", Filters=[zones])["Subnets"]
        hand.call(
            "redshift",
            "CreateClusterSubnetGroup",
            ClusterSubnetGroupName=name,
            Description="warehouse",
            SubnetIds=[subnet["SubnetId"] for subnet in subnets],
        )
    return name


def security_group(stage: Stage) -> str:
    """A new security group of the default VPC."""
    vpc = stage.hand.call("ec2", "DescribeVpcs")["Vpcs"][0]["VpcId"]
    made = stage.hand.call(
        "ec2", "CreateSecurityGroup", GroupName=_unique("sg"), Description="w", VpcId=vpc
    )
    return str(made["GroupId"])


def parameter_group(stage: Stage) -> str:
    """A new parameter group."""
    name = _unique("parameters")
    stage.hand.call(
        "redshift",
        "CreateClusterParameterGroup",
        ParameterGroupName=name,
        ParameterGroupFamily="redshift-1.0",
        Description="w",
    )
    return name


def plant(stage: Stage, **more: Any) -> str:
    """A cluster with everything that can be chosen."""
    return plant_bare(
        stage,
        **{
            "ClusterSubnetGroupName": subnet_group(stage),
            "VpcSecurityGroupIds": [security_group(stage)],
            "ClusterParameterGroupName": parameter_group(stage),
            "AvailabilityZone": f"{REGION}b",
            "Port": 5440,
            "IamRoles": [ROLE],
            "EnhancedVpcRouting": True,
            "AllowVersionUpgrade": False,
            "PubliclyAccessible": True,
            **more,
        },
    )


def plant_bare(stage: Stage, **more: Any) -> str:
    """A cluster of two nodes."""
    name = _unique("dw")
    stage.hand.call(
        "redshift",
        "CreateCluster",
        **{
            "ClusterIdentifier": name,
            "NodeType": "ra3.xlplus",
            "NumberOfNodes": 2,
            "ClusterType": "multi-node",
            "MasterUsername": "admin",
            "MasterUserPassword": "Secret-secret1",
            "DBName": "shop",
            "Tags": tags.to_aws({"team": "red", "Name": "warehouse"}),
            **more,
        },
    )
    return name


def cluster_of(stage: Stage, name: str) -> Json:
    """A cluster as AWS describes it."""
    (cluster,) = stage.hand.call("redshift", "DescribeClusters", ClusterIdentifier=name)["Clusters"]
    found: Json = cluster
    return found


def snapshots(stage: Stage, **chosen: Any) -> list[Json]:
    """The account's manual snapshots."""
    return list(
        stage.hand.pages(
            "redshift", "DescribeClusterSnapshots", "Snapshots", SnapshotType="manual", **chosen
        )
    )


def lose(stage: Stage, name: str) -> object:
    """Delete a snapshot as if somebody else had."""
    return stage.hand.call("redshift", "DeleteClusterSnapshot", SnapshotIdentifier=name)


def delete_cluster(stage: Stage, name: str) -> None:
    """Take the original away."""
    stage.hand.call(
        "redshift", "DeleteCluster", ClusterIdentifier=name, SkipFinalClusterSnapshot=True
    )


def _tags_of(stage: Stage, name: str) -> dict[str, str]:
    (found,) = snapshots(stage, SnapshotIdentifier=name)
    return tags.from_aws(found["Tags"])


def _copies_with(stage: Stage, token: str) -> list[str]:
    try:
        found = snapshots(stage, TagKeys=[tags.TOKEN], TagValues=[token])
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        return []
    return [each["SnapshotIdentifier"] for each in found]


def _remains(stage: Stage) -> set[str]:
    found = stage.hand.pages("redshift", "DescribeClusters", "Clusters")
    return {cluster["ClusterIdentifier"] for cluster in found}


def _sharing(stage: Stage, name: str) -> list[Order]:
    return [Order("share_snapshot", {"snapshot": name, "account": OTHER_ACCOUNT})]


def _nothing(_stage: Stage, _original: Resource) -> Json:
    return {}


def _check_same(stage: Stage, original: Resource, made: Mapping[str, Refs]) -> None:
    name = made["tag"]["cluster"]
    assert name.startswith(f"{original.resource_id}-")
    was, now = cluster_of(stage, original.resource_id), cluster_of(stage, name)
    for fact in (
        *("NodeType", "NumberOfNodes", "DBName", "MasterUsername", "AvailabilityZone", "VpcId"),
        *("ClusterSubnetGroupName", "ClusterParameterGroups", "VpcSecurityGroups", "IamRoles"),
        *("PubliclyAccessible", "AllowVersionUpgrade", "EnhancedVpcRouting"),
    ):
        assert now[fact] == was[fact], fact
    assert now["Endpoint"]["Port"] == was["Endpoint"]["Port"]
    carried = tags.from_aws(now["Tags"])
    assert dict(original.tags).items() <= carried.items()
    assert carried[tags.BACKUP_ID] == "7"


def _other(stage: Stage, _original: Resource) -> Json:
    return {
        "cluster_identifier": _unique("copy"),
        "node_type": "ra3.4xlarge",
        "port": 8200,
        "availability_zone": f"{REGION}a",
        "subnet_group": subnet_group(stage, "other"),
        "parameter_group": parameter_group(stage),
        "publicly_accessible": False,
        "allow_version_upgrade": True,
        "vpc_security_groups": [security_group(stage)],
        "preserve_tags": False,
        "additional_tags": {"who": "me"},
    }


def _check_other(stage: Stage, _original: Resource, made: Mapping[str, Refs]) -> None:
    cluster = cluster_of(stage, made["tag"]["cluster"])
    assert cluster["ClusterIdentifier"].startswith("copy-")
    assert (cluster["NodeType"], cluster["Endpoint"]["Port"]) == ("ra3.4xlarge", 8200)
    assert cluster["AvailabilityZone"] == f"{REGION}a"
    assert cluster["ClusterSubnetGroupName"] == "other"
    assert (cluster["PubliclyAccessible"], cluster["AllowVersionUpgrade"]) == (False, True)
    carried = tags.from_aws(cluster["Tags"])
    assert carried["who"] == "me"
    assert not carried.keys() & {"team", "Name"}


def _unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


REDSHIFT_CLUSTER = Rig(
    plant=plant,
    plant_many=lambda stage, count: [plant_bare(stage) for _ in range(count)],
    many=120,
    lose=lose,
    tags_of=_tags_of,
    copies_with=_copies_with,
    copies_are_named=True,
    remains=_remains,
    absent_id="no-such-cluster",
    absent_ref="cpm-0a1b2c3d-0000-4444-8888-0a1b2c3d4e5f",
    recoveries=(
        RecoveryCase("as it was", _nothing, _check_same),
        RecoveryCase("otherwise", _other, _check_other),
    ),
    sharing=_sharing,
)
