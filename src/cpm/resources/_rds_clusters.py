"""DB clusters as facts, with their members, and the effect that restores one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from cpm.aws.sessions import Aws
from cpm.resources import _ec2, _rds, _rds_instances, _rds_ties
from cpm.resources._volumes import USE_OF_KEYS
from cpm.resources.contract import Ask, Effect, Json, Refs, Resource, State, Verdict, Watch

KIND = "rds_cluster"
_FAILED = frozenset(
    {
        "cloning-failed",
        "failed",
        "inaccessible-encryption-credentials",
        "incompatible-parameters",
        "migration-failed",
    }
)


def is_aurora(facts: Json) -> bool:
    """Whether its members are made one by one; those of a Multi-AZ cluster come with it."""
    return str(facts["engine"]).startswith("aurora")


def is_serverless(facts: Json) -> bool:
    """Whether it has no members at all (Aurora Serverless v1)."""
    return bool(facts["engine_mode"] == "serverless")


def resources(aws: Aws, clusters: Iterable[Json]) -> Iterator[Resource]:
    """Clusters as RDS describes them, each with its members."""
    numbered = enumerate(cluster for cluster in clusters if _rds.is_ours(cluster))
    # A page at a time: their members are asked for together.
    for _, page in groupby(numbered, key=lambda item: item[0] // _rds.PER_CALL):
        yield from _with_members(aws, [cluster for _, cluster in page])


def _with_members(aws: Aws, clusters: list[Json]) -> Iterator[Resource]:
    ids = [role["DBInstanceIdentifier"] for each in clusters for role in _roles(each)]
    described = _rds.by_ids(aws, _rds.INSTANCES, ids)
    instances = {instance["DBInstanceIdentifier"]: instance for instance in described}
    for cluster in clusters:
        yield _resource(cluster, instances, aws.region)


def _roles(cluster: Json) -> Sequence[Json]:
    """Its members as it lists them; the writer first, then as they would follow it."""
    members: Sequence[Json] = cluster.get("DBClusterMembers", ())
    return sorted(members, key=lambda role: (not role["IsClusterWriter"], _rank(role)))


def _rank(role: Json) -> tuple[int, str]:
    tier = role.get("PromotionTier")
    return (99 if tier is None else tier), role["DBInstanceIdentifier"]


def _resource(cluster: Json, instances: Mapping[str, Json], region: str) -> Resource:
    members = [
        _rds_instances.member(instances[role["DBInstanceIdentifier"]], role)
        for role in _roles(cluster)
        if role["DBInstanceIdentifier"] in instances
    ]
    cluster_tags = _rds.tags_of(cluster)
    return Resource(
        kind=KIND,
        resource_id=cluster["DBClusterIdentifier"],
        region=region,
        name=_ec2.name_of(cluster_tags),
        size_gib=cluster.get("AllocatedStorage", 0),
        tags=cluster_tags,
        facts=facts(cluster) | {"members": members},
    )


def facts(cluster: Json) -> Json:
    """What is needed to make a cluster like this one, as JSON; without its members."""
    groups = cluster.get("VpcSecurityGroups", ())
    return {
        "engine": cluster["Engine"],
        "engine_version": cluster.get("EngineVersion"),
        "engine_mode": cluster.get("EngineMode", "provisioned"),
        "lifecycle": cluster.get("EngineLifecycleSupport"),
        "instance_class": cluster.get("DBClusterInstanceClass"),
        "size_gib": cluster.get("AllocatedStorage", 0),
        "storage_type": cluster.get("StorageType"),
        "iops": cluster.get("Iops"),
        "encrypted": cluster.get("StorageEncrypted", False),
        "kms_key_id": cluster.get("KmsKeyId"),
        "db_subnet_group": cluster.get("DBSubnetGroup"),
        "network_type": cluster.get("NetworkType"),
        "security_groups": [each["VpcSecurityGroupId"] for each in groups],
        "publicly_accessible": cluster.get("PubliclyAccessible", False),
        "port": cluster.get("Port"),
        "parameter_group": cluster.get("DBClusterParameterGroup"),
        "deletion_protection": cluster.get("DeletionProtection", False),
        "iam_authentication": cluster.get("IAMDatabaseAuthenticationEnabled", False),
        "copy_tags": cluster.get("CopyTagsToSnapshot", False),
        "log_exports": cluster.get("EnabledCloudwatchLogsExports", []),
        "backtrack_seconds": cluster.get("BacktrackWindow") or 0,
        "scaling": cluster.get("ScalingConfigurationInfo", {}),
        "serverless_v2": cluster.get("ServerlessV2ScalingConfiguration", {}),
        "ties": _rds_ties.facts(cluster),
        "tags": _rds.tags_of(cluster),
    }


def _restore(aws: Aws, ask: Ask) -> Refs:
    operation, parameters = "RestoreDBClusterFromSnapshot", ask.spec["parameters"]
    return {"cluster": _rds.make_named(aws, ask, operation, _rds.CLUSTERS, parameters)}


def _find(aws: Aws, ask: Ask) -> Refs | None:
    name = _rds.find_named(aws, _rds.CLUSTERS, ask)
    return {"cluster": name} if name else None


def _undo(aws: Aws, refs: Refs) -> None:
    _rds.take_down(aws, _rds.CLUSTERS, refs["cluster"])


def _poll(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    described = _rds.by_ids(aws, _rds.CLUSTERS, refs)
    found = {each[_rds.CLUSTERS.id]: _verdict(each) for each in described}
    return {ref: found.get(ref, Verdict(State.GONE)) for ref in refs}


def _verdict(cluster: Json) -> Verdict:
    status = cluster["Status"]
    if status in ("available", "stopped", "stopping"):
        return Verdict(State.DONE, 100)
    if status in _FAILED:
        return Verdict(State.FAILED, reason=f"AWS reports that it is {status}")
    if status == "deleting":
        return Verdict(State.GONE)
    return Verdict(State.PENDING, int(cluster.get("PercentProgress") or 0))


_SEE = _rds.CLUSTERS.permission

AVAILABLE = Watch("db_cluster", (_SEE,), _poll, batch=_rds.PER_CALL)

RESTORE = Effect(
    name="restore_cluster",
    operation="rds:RestoreDBClusterFromSnapshot",
    permissions=(
        "rds:RestoreDBClusterFromSnapshot",
        "rds:AddTagsToResource",
        _SEE,
        *USE_OF_KEYS,
    ),
    start=_restore,
    find=_find,
    watch=AVAILABLE.name,
    undo=_undo,
    undo_permissions=("rds:DeleteDBCluster", "rds:ModifyDBCluster", _SEE),
    makes_result=True,
)
MODIFY = _rds_ties.modify(_rds.CLUSTERS, AVAILABLE.name)
ADD_ROLE = _rds_ties.add_role(_rds.CLUSTERS, AVAILABLE.name)
