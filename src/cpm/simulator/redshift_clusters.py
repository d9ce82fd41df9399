"""Redshift's clusters: listed in pages, restored from snapshots, also from another account's."""

from collections.abc import Mapping
from typing import Any

from botocore import xform_name
from moto.redshift.models import Cluster

from cpm.simulator import making, redshift_snapshots
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.errors import AwsError
from cpm.simulator.patches import extend, replace

_KEPT = (
    "cluster_version",
    "db_name",
    "encrypted",
    "enhanced_vpc_routing",
    "kms_key_id",
    "master_user_password",
    "master_username",
    "node_type",
    "number_of_nodes",
    "port",
)
# What moto's constructor insists on, as AWS has it when a restore does not say.
_DEFAULTS: Mapping[str, Any] = {
    "allow_version_upgrade": True,
    "automated_snapshot_retention_period": 1,
    "availability_zone": None,
    "cluster_parameter_group_name": None,
    "cluster_security_groups": [],
    "cluster_subnet_group_name": None,
    "preferred_maintenance_window": None,
    "publicly_accessible": False,
    "vpc_security_group_ids": [],
}
# What moto's clusters do not know; kept beside what they do.
_ADDED = (
    "availability_zone_relocation_status",
    "default_iam_role_arn",
    "manual_snapshot_retention_period",
    "multi_az",
)
_GIB = 1024
# Of one node, in MiB. Nodes of managed storage have a quota instead of disks.
_CAPACITY = {
    "dc2.large": 160 * _GIB,
    "dc2.8xlarge": 2560 * _GIB,
    "ra3.large": 8 * _GIB * _GIB,
    "ra3.xlplus": 32 * _GIB * _GIB,
    "ra3.4xlarge": 128 * _GIB * _GIB,
    "ra3.16xlarge": 128 * _GIB * _GIB,
}
_OPTIONS = (
    "AllowVersionUpgrade",
    "AutomatedSnapshotRetentionPeriod",
    "AvailabilityZone",
    "ClusterIdentifier",
    "ClusterParameterGroupName",
    "ClusterSecurityGroups",
    "ClusterSubnetGroupName",
    "Encrypted",
    "EnhancedVpcRouting",
    "KmsKeyId",
    "NodeType",
    "NumberOfNodes",
    "Port",
    "PreferredMaintenanceWindow",
    "PubliclyAccessible",
    "VpcSecurityGroupIds",
)


def install(handlers: Handlers) -> None:
    """Take over listing and restoring; let a restored cluster's status follow the clock."""
    handlers.add(
        "redshift",
        {"DescribeClusters": describe_clusters, "RestoreFromClusterSnapshot": restore_cluster},
    )
    extend(Cluster, "status", property(_status, _set_status))
    extend(Cluster, "cluster_namespace_arn", property(_namespace_arn))
    extend(Cluster, "vpc_id", property(_vpc_id))
    replace(Cluster, "restore_status", property(_restore_status))
    replace(Cluster, "total_storage_capacity_in_mega_bytes", property(_capacity_mib))
    for name in _ADDED:
        extend(Cluster, name, None)


def describe_clusters(call: Call) -> Mapping[str, Any]:
    """The caller's clusters in the region."""
    redshift = redshift_snapshots.backend(call.account, call.region)
    name = call.get("ClusterIdentifier")
    present = making.listed(redshift.clusters.values())
    found = [
        cluster
        for cluster in present
        if name in (None, cluster.cluster_identifier) and redshift_snapshots.has_tags(call, cluster)
    ]
    if name and not found:
        raise AwsError("ClusterNotFound", f"Cluster {name} not found.", 404)
    clusters, marker = redshift_snapshots.page(call, found, lambda item: item.cluster_identifier)
    return {"Clusters": clusters, "Marker": marker}


def restore_cluster(call: Call) -> Mapping[str, Any]:
    """A new cluster with the data of a snapshot."""
    redshift = redshift_snapshots.backend(call.account, call.region)
    name = call.params["ClusterIdentifier"]
    if name in redshift.clusters:
        raise AwsError("ClusterAlreadyExists", f"Cluster {name} already exists.")
    snapshot = _source(call)
    if snapshot.status != "available":
        raise redshift_snapshots.bad_state(f"The snapshot is {snapshot.status}.")
    cluster = redshift.create_cluster(**_facts(call, snapshot))
    _add_facts(call, cluster)
    making.begin(call, cluster, call.config.quick_seconds)
    return {"Cluster": cluster}


def _source(call: Call) -> Any:
    arn, name = call.get("SnapshotArn"), call.get("SnapshotIdentifier")
    if arn:
        # arn:aws:redshift:REGION:OWNER:snapshot:CLUSTER/NAME
        owner, name = arn.split(":")[4], arn.rsplit("/", maxsplit=1)[-1]
        return redshift_snapshots.usable(call, name, owner)
    if not name:
        text = "Either SnapshotIdentifier or SnapshotArn must be given."
        raise AwsError("InvalidParameterCombination", text)
    return redshift_snapshots.usable(call, name, call.get("OwnerAccount"))


def _facts(call: Call, snapshot: Any) -> dict[str, Any]:
    kept = {name: getattr(snapshot, name, None) for name in _KEPT}
    asked = {xform_name(name): call.params[name] for name in _OPTIONS if name in call.params}
    facts = {**_DEFAULTS, **kept, **asked}
    is_own = snapshot.account_id == call.account
    return {
        **facts,
        "cluster_type": "multi-node" if int(facts["number_of_nodes"]) > 1 else "single-node",
        "iam_roles_arn": call.get("IamRoles", []),
        "region_name": call.region,
        "restored_from_snapshot": True,
        "tags": list(snapshot.tags) if is_own else [],
    }


def _add_facts(call: Call, cluster: Any) -> None:
    cluster.default_iam_role_arn = call.get("DefaultIamRoleArn")
    cluster.manual_snapshot_retention_period = call.get("ManualSnapshotRetentionPeriod", -1)
    cluster.multi_az = "Enabled" if call.get("MultiAZ") else "Disabled"
    moves = call.get("AvailabilityZoneRelocation")
    cluster.availability_zone_relocation_status = "enabled" if moves else "disabled"


def _namespace_arn(cluster: Any) -> str:
    owner: str = cluster.arn.partition(":cluster:")[0]
    return f"{owner}:namespace:{cluster.unique_cluster_id}"


def _vpc_id(cluster: Any) -> str | None:
    group = cluster.redshift_backend.subnet_groups.get(cluster.cluster_subnet_group_name)
    return str(group.vpc_id) if group else None


def _capacity_mib(cluster: Any) -> int:
    per_node = _CAPACITY.get(cluster.node_type, _CAPACITY["dc2.large"])
    return int(cluster.number_of_nodes) * per_node


def _restore_status(cluster: Any) -> Mapping[str, Any] | None:
    if not cluster.restored_from_snapshot:
        return None
    percent = making.progress_percent(cluster)
    whole = int(redshift_snapshots.SIZE_MIB)
    return {
        "Status": "completed" if percent == 100 else "restoring",
        "SnapshotSizeInMegaBytes": whole,
        "ProgressInMegaBytes": whole * percent // 100,
    }


def _status(cluster: Any) -> str:
    return "creating" if making.is_pending(cluster) else str(cluster._status)


def _set_status(cluster: Any, status: str) -> None:
    cluster._status = status
