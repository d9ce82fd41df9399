"""Redshift's clusters and their snapshots as AWS lists them, and as facts."""

import re
from collections.abc import Iterable, Iterator, Sequence

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources.contract import Json, Resource

KIND = "redshift_cluster"
COLLECTION = "redshift_clusters"
MOST_PER_CALL = 100
LONGEST_NAME = 63

_NAME = re.compile(rf"(?!.*--)(?!.*-$)[a-z][a-z0-9-]{{0,{LONGEST_NAME - 1}}}")
_MIB_PER_GIB = 1024
_WITHOUT_DISKS = "ra3."


def is_name(text: str) -> bool:
    """Whether a cluster may be called so."""
    return bool(_NAME.fullmatch(text))


def clusters(aws: Aws, ids: Iterable[str] | None = None) -> Iterator[Json]:
    """All clusters of the region, or those of `ids` that exist; none that are being deleted.

    AWS gives one by its id or all in pages: whoever wants two of them gets along with the pages.
    """
    wanted = None if ids is None else {each for each in ids if is_name(each)}
    if wanted is None or len(wanted) > 1:
        found: Iterable[Json] = aws.pages(
            "redshift", "DescribeClusters", "Clusters", MaxRecords=MOST_PER_CALL
        )
    else:
        found = [each for name in wanted for each in _one(aws, name)]
    for cluster in found:
        is_wanted = wanted is None or cluster["ClusterIdentifier"] in wanted
        if is_wanted and cluster["ClusterStatus"] != "deleting":
            yield cluster


def cluster(aws: Aws, name: str) -> Json | None:
    """The cluster of that name, None when there is none that stays."""
    return next(clusters(aws, [name]), None)


def name_is_taken(aws: Aws, name: str) -> bool:
    """Whether there is a cluster of that name, and be it one that is being deleted."""
    return bool(_one(aws, name))


def arn(aws: Aws, described: Json) -> str:
    """The ARN of a cluster, which Redshift does not tell; that of its namespace names the owner."""
    account = described["ClusterNamespaceArn"].split(":")[4]
    name = described["ClusterIdentifier"]
    return f"arn:{aws.partition}:redshift:{aws.region}:{account}:cluster:{name}"


def snapshots(aws: Aws, **chosen: object) -> Iterator[Json]:
    """The snapshots that parameters of `DescribeClusterSnapshots` choose; none if they do not."""
    try:
        yield from aws.pages(
            "redshift",
            "DescribeClusterSnapshots",
            "Snapshots",
            **({"MaxRecords": MOST_PER_CALL} | chosen),
        )
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def resource(aws: Aws, described: Json) -> Resource:
    """A cluster as Redshift describes it."""
    cluster_tags = tags.from_aws(described.get("Tags"))
    return Resource(
        kind=KIND,
        resource_id=described["ClusterIdentifier"],
        region=aws.region,
        name=cluster_tags.get("Name") or None,
        size_gib=_size_gib(aws, described),
        tags=cluster_tags,
        facts=_facts(described, cluster_tags),
    )


def _size_gib(aws: Aws, described: Json) -> int:
    """How much a cluster stores: the disks that it has, or else the data of its last snapshot.

    The capacity of nodes without disks of their own is AWS's quota, 128 TiB for a node.
    """
    if not described["NodeType"].startswith(_WITHOUT_DISKS):
        return gib(described.get("TotalStorageCapacityInMegaBytes", 0))
    made = snapshots(aws, ClusterIdentifier=described["ClusterIdentifier"])
    complete = [each for each in made if each.get("Status") == "available"]
    last = max(complete, key=lambda each: each["SnapshotCreateTime"], default={})
    return gib(last.get("TotalBackupSizeInMegaBytes") or 0)


def gib(mib: float) -> int:
    """AWS's megabytes in whole GiB, rounded up."""
    return -int(-mib // _MIB_PER_GIB)


def _one(aws: Aws, name: str) -> Sequence[Json]:
    try:
        found = aws.call("redshift", "DescribeClusters", ClusterIdentifier=name)["Clusters"]
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise
        return ()
    listed: Sequence[Json] = found
    return listed


def _facts(described: Json, cluster_tags: Json) -> Json:
    """What a restore does not know of the cluster by itself, and what options are compared with."""
    zone_relocation = described.get("AvailabilityZoneRelocationStatus", "disabled")
    return {
        "cluster_identifier": described["ClusterIdentifier"],
        "node_type": described["NodeType"],
        "number_of_nodes": described["NumberOfNodes"],
        "port": described.get("Endpoint", {}).get("Port"),
        "availability_zone": described.get("AvailabilityZone"),
        "is_multi_az": str(described.get("MultiAZ", "")).lower() in ("enabled", "true"),
        "moves_between_zones": zone_relocation == "enabled",
        "vpc_id": described.get("VpcId"),
        "subnet_group": described.get("ClusterSubnetGroupName"),
        "parameter_group": next(
            (each["ParameterGroupName"] for each in described.get("ClusterParameterGroups", ())),
            None,
        ),
        "vpc_security_groups": [
            group["VpcSecurityGroupId"] for group in described.get("VpcSecurityGroups", ())
        ],
        "publicly_accessible": described.get("PubliclyAccessible", False),
        "allow_version_upgrade": described.get("AllowVersionUpgrade", True),
        "enhanced_vpc_routing": described.get("EnhancedVpcRouting", False),
        "iam_roles": [role["IamRoleArn"] for role in described.get("IamRoles", ())],
        "default_iam_role": described.get("DefaultIamRoleArn") or None,
        "manual_retention_days": described.get("ManualSnapshotRetentionPeriod"),
        "encrypted": described.get("Encrypted", False),
        "kms_key_id": described.get("KmsKeyId"),
        "tags": cluster_tags,
    }
