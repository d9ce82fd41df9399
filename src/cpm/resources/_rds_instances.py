"""DB instances, alone or as members of clusters: as facts, and the effects that make them anew."""

from collections.abc import Mapping, Sequence

from cpm.aws.sessions import Aws
from cpm.resources import _rds, _rds_ties
from cpm.resources._ec2 import name_of
from cpm.resources._volumes import USE_OF_KEYS
from cpm.resources.contract import Ask, Effect, Json, Refs, Resource, State, Verdict, Watch

KIND = "rds_database"

# It never becomes available, whatever one waits.
_FAILED = frozenset(
    {
        "failed",
        "inaccessible-encryption-credentials",
        "incompatible-create",
        "incompatible-network",
        "incompatible-option-group",
        "incompatible-parameters",
        "incompatible-restore",
        "insufficient-capacity",
        "restore-error",
        "storage-full",
    }
)
_DONE = frozenset({"available", "storage-optimization", "stopped", "stopping"})


def facts(instance: Json) -> Json:
    """What is needed to make an instance like this one, as JSON."""
    group = instance.get("DBSubnetGroup", {})
    return {
        "cluster": instance.get("DBClusterIdentifier"),
        "instance_class": instance["DBInstanceClass"],
        "engine": instance["Engine"],
        "engine_version": instance.get("EngineVersion"),
        "lifecycle": instance.get("EngineLifecycleSupport"),
        "license_model": instance.get("LicenseModel"),
        "size_gib": instance.get("AllocatedStorage", 0),
        "most_gib": instance.get("MaxAllocatedStorage"),
        "storage_type": instance.get("StorageType"),
        "iops": instance.get("Iops"),
        "throughput": instance.get("StorageThroughput"),
        "log_volume": instance.get("DedicatedLogVolume", False),
        "encrypted": instance.get("StorageEncrypted", False),
        "kms_key_id": instance.get("KmsKeyId"),
        "multi_az": instance.get("MultiAZ", False),
        "availability_zone": instance.get("AvailabilityZone"),
        "db_subnet_group": group.get("DBSubnetGroupName"),
        "network_type": instance.get("NetworkType"),
        "security_groups": _security_groups(instance),
        "publicly_accessible": instance.get("PubliclyAccessible", False),
        "port": _port(instance),
        "processor_features": instance.get("ProcessorFeatures", []),
        "parameter_group": _first(instance, "DBParameterGroups", "DBParameterGroupName"),
        "option_group": _first(instance, "OptionGroupMemberships", "OptionGroupName"),
        "auto_minor_version_upgrade": instance.get("AutoMinorVersionUpgrade", True),
        "maintenance_window": instance.get("PreferredMaintenanceWindow"),
        "deletion_protection": instance.get("DeletionProtection", False),
        "iam_authentication": instance.get("IAMDatabaseAuthenticationEnabled", False),
        "copy_tags": instance.get("CopyTagsToSnapshot", False),
        "log_exports": instance.get("EnabledCloudwatchLogsExports", []),
        "ties": _rds_ties.facts(instance),
        "tags": _rds.tags_of(instance),
    }


def member(instance: Json, role: Json) -> Json:
    """What is needed to make such a member of a cluster; `role` is how the cluster lists it."""
    kept = (
        *("instance_class", "availability_zone", "publicly_accessible", "parameter_group"),
        *("auto_minor_version_upgrade", "maintenance_window", "tags"),
    )
    own = facts(instance)
    return {
        "id": instance["DBInstanceIdentifier"],
        "is_writer": role.get("IsClusterWriter", False),
        "promotion_tier": role.get("PromotionTier"),
        "ties": _rds_ties.of_member(own["ties"]),
        **{name: own[name] for name in kept},
    }


def resource(instance: Json, region: str) -> Resource:
    """An instance as RDS describes it."""
    own = facts(instance)
    return Resource(
        kind=KIND,
        resource_id=instance["DBInstanceIdentifier"],
        region=region,
        name=name_of(own["tags"]),
        size_gib=own["size_gib"],
        part_of=own["cluster"],
        tags=own["tags"],
        facts=own,
    )


def _security_groups(described: Json) -> list[str]:
    return [each["VpcSecurityGroupId"] for each in described.get("VpcSecurityGroups", ())]


def _port(instance: Json) -> int | None:
    # The endpoint is not there until the instance is.
    port: int | None = instance.get("Endpoint", {}).get("Port") or instance.get("DbInstancePort")
    return port or None


def _first(instance: Json, key: str, name: str) -> str | None:
    listed: list[Json] = instance.get(key) or [{}]
    return listed[0].get(name)


def _restore(aws: Aws, ask: Ask) -> Refs:
    parameters = ask.spec["parameters"]
    operation = "RestoreDBInstanceFromDBSnapshot"
    return {"instance": _rds.make_named(aws, ask, operation, _rds.INSTANCES, parameters)}


def _create_member(aws: Aws, ask: Ask) -> Refs:
    cluster = {_rds.CLUSTERS.id: ask.earlier["cluster"]["cluster"]}
    parameters = ask.spec["parameters"] | cluster
    return {"instance": _rds.make_named(aws, ask, "CreateDBInstance", _rds.INSTANCES, parameters)}


def _find(aws: Aws, ask: Ask) -> Refs | None:
    name = _rds.find_named(aws, _rds.INSTANCES, ask)
    return {"instance": name} if name else None


def _undo(aws: Aws, refs: Refs) -> None:
    _rds.take_down(aws, _rds.INSTANCES, refs["instance"])


def _poll(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    described = _rds.by_ids(aws, _rds.INSTANCES, refs)
    found = {each[_rds.INSTANCES.id]: _verdict(each) for each in described}
    return {ref: found.get(ref, Verdict(State.GONE)) for ref in refs}


def _verdict(instance: Json) -> Verdict:
    status = instance["DBInstanceStatus"]
    if status in _DONE:
        return Verdict(State.DONE, 100)
    if status in _FAILED:
        return Verdict(State.FAILED, reason=f"AWS reports that it is {status}")
    if status == "deleting":
        return Verdict(State.GONE)
    # It is backed up, changed and restarted before it is available.
    return Verdict(State.PENDING, int(instance.get("PercentProgress") or 0))


_SEE = _rds.INSTANCES.permission
_MARK = "rds:AddTagsToResource"

AVAILABLE = Watch("db_instance", (_SEE,), _poll, batch=_rds.PER_CALL)

_UNDO = ("rds:DeleteDBInstance", "rds:ModifyDBInstance", _SEE)

RESTORE = Effect(
    name="restore_instance",
    operation="rds:RestoreDBInstanceFromDBSnapshot",
    permissions=("rds:RestoreDBInstanceFromDBSnapshot", _MARK, _SEE, *USE_OF_KEYS),
    start=_restore,
    find=_find,
    watch=AVAILABLE.name,
    undo=_undo,
    undo_permissions=_UNDO,
    makes_result=True,
)
MODIFY = _rds_ties.modify(_rds.INSTANCES, AVAILABLE.name)
ADD_ROLE = _rds_ties.add_role(_rds.INSTANCES, AVAILABLE.name)
CREATE_WRITER = Effect(
    name="create_writer",
    operation="rds:CreateDBInstance",
    permissions=("rds:CreateDBInstance", _MARK, _SEE, *USE_OF_KEYS),
    start=_create_member,
    find=_find,
    watch=AVAILABLE.name,
    undo=_undo,
    undo_permissions=("rds:DeleteDBInstance", _SEE),
)
# A cluster without one of its readers is a cluster all the same.
CREATE_READER = Effect(
    name="create_reader",
    operation="rds:CreateDBInstance",
    permissions=CREATE_WRITER.permissions,
    start=_create_member,
    find=_find,
    watch=AVAILABLE.name,
    tidies_up=True,
)
