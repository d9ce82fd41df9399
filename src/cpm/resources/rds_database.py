"""RDS databases: DB instances that stand alone; members of clusters go with their cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from cpm.aws.sessions import Aws
from cpm.resources import (
    _kms,
    _rds,
    _rds_copies,
    _rds_instances,
    _rds_network,
    _rds_snapshots,
    _rds_storage,
    _rds_ties,
)
from cpm.resources._rds_options import DatabaseOptions
from cpm.resources._rds_recovery import available_snapshot, chosen, dropped, given
from cpm.resources._recovery import wanted_tags
from cpm.resources.contract import (
    Driver,
    Json,
    Once,
    OptionRefused,
    Order,
    Resource,
    TagRules,
    Whole,
)
from cpm.resources.copied import Source

_WORDS = _rds_snapshots.INSTANCES
# Engines whose versions AWS supports beyond their time, unless it is told not to.
_LIFECYCLES = ("mysql", "postgres")


@dataclass(frozen=True)
class TargetOptions:
    """A database has nothing to choose."""


# Members of clusters are instances as well: whoever names one is told of its cluster.


def _discover(aws: Aws) -> Iterator[Resource]:
    return _resources(aws, _rds.everything(aws, _rds.INSTANCES))


def _describe(aws: Aws, ids: Iterable[str]) -> Iterator[Resource]:
    return _resources(aws, _rds.by_ids(aws, _rds.INSTANCES, ids))


def _resources(aws: Aws, instances: Iterable[Json]) -> Iterator[Resource]:
    for instance in instances:
        if _rds.is_ours(instance):
            yield _rds_instances.resource(instance, aws.region)


def _stands_for(database: Resource) -> Whole | None:
    cluster = database.facts["cluster"]
    return Whole(_rds_snapshots.CLUSTERS.kind, cluster) if cluster else None


def _check_target(_aws: Aws, database: Resource, _options: Any) -> None:
    cluster = database.facts["cluster"]
    if cluster:
        text = f"{database.resource_id} is a member of cluster {cluster}: protect the cluster"
        raise OptionRefused("resource_id", "invalid", text)


def _plan_snapshots(database: Resource, _options: Any) -> Iterator[Order]:
    cluster = database.facts["cluster"]
    if cluster:
        text = f"it is a member of cluster {cluster}, which has to be protected instead"
        raise OptionRefused("resource_id", "invalid", text)
    yield _rds_snapshots.order(_WORDS, database)


def _plan_recovery(aws: Aws, source: Source, options: DatabaseOptions) -> list[Order]:
    copy = source.copies[0]
    snapshot = available_snapshot(_WORDS, aws, copy)
    _rds.check_tags(options.additional_tags)
    if options.db_instance_class:
        _rds_network.check_class(aws, "db_instance_class", options.db_instance_class, snapshot)
    parameters = {
        "DBSnapshotIdentifier": copy.aws_ref,
        **given(_network(aws, source, options)),
        **given(_rds_storage.storage(options.storage_type, options.iops, source.facts)),
        **given(_settings(aws, source, options)),
    }
    spec = {
        **_naming(aws, source, options),
        "tags": wanted_tags(options, source.facts["tags"]),
        "parameters": parameters,
    }
    ties = source.facts.get("ties") or _rds_ties.NONE
    lost = dropped(source.facts, parameters, options.vpc_security_groups)
    notes = (*lost, *_rds_ties.dropped(aws, source, ties))
    restore = Order(_rds_instances.RESTORE.name, spec, step="restore", notes=notes)
    return [restore, *_afterwards(aws, source, ties)]


def _naming(aws: Aws, source: Source, options: DatabaseOptions) -> Json:
    field, asked = "db_instance_identifier", options.db_instance_identifier
    taken = _rds.taken(aws, _rds.INSTANCES, [asked, source.resource_id])
    return _rds.naming(field, asked, source.resource_id, taken)


def _network(aws: Aws, source: Source, options: DatabaseOptions) -> Json:
    facts = source.facts
    group = _rds_network.subnet_group(aws, source, options.db_subnet_group)
    multi_az = chosen(options.multi_az, facts["multi_az"])
    if multi_az and options.availability_zone:
        text = "a Multi-AZ database has no zone of its own: ask for multi_az false, too"
        raise OptionRefused("availability_zone", "invalid", text)
    asked, original = options.availability_zone, facts["availability_zone"]
    zone = _rds_network.zone(aws, source, asked, original, group)
    groups = _rds_network.security_groups(aws, source, options.vpc_security_groups, group)
    return {
        "MultiAZ": multi_az,
        "AvailabilityZone": None if multi_az else zone,
        "DBSubnetGroupName": group["DBSubnetGroupName"] if group else None,
        "VpcSecurityGroupIds": groups,
        "PubliclyAccessible": chosen(options.publicly_accessible, facts["publicly_accessible"]),
        "Port": chosen(options.port, facts["port"]),
        "NetworkType": facts["network_type"] if _rds_network.is_original(source, group) else None,
    }


def _settings(aws: Aws, source: Source, options: DatabaseOptions) -> Json:
    facts = source.facts
    is_same_class = options.db_instance_class in (None, facts["instance_class"])
    upgrades = chosen(options.auto_minor_version_upgrade, facts["auto_minor_version_upgrade"])
    asked, original = options.parameter_group, facts["parameter_group"]
    parameters = _rds_network.group(aws, source, _rds_network.PARAMETERS, asked, original)
    asked, original = options.option_group, facts["option_group"]
    return {
        "DBInstanceClass": options.db_instance_class or facts["instance_class"],
        "ProcessorFeatures": facts["processor_features"] if is_same_class else None,
        "DBParameterGroupName": parameters,
        "OptionGroupName": _rds_network.group(aws, source, _rds_network.OPTIONS, asked, original),
        "LicenseModel": options.license_model or facts["license_model"],
        "AutoMinorVersionUpgrade": upgrades,
        "DeletionProtection": chosen(options.deletion_protection, facts["deletion_protection"]),
        # Some engines refuse even to be told that they do not have it.
        "EnableIAMDatabaseAuthentication": facts["iam_authentication"] or None,
        "CopyTagsToSnapshot": facts["copy_tags"] or None,
        "EnableCloudwatchLogsExports": facts["log_exports"],
        "EngineLifecycleSupport": facts["lifecycle"] if facts["engine"] in _LIFECYCLES else None,
    }


def _afterwards(aws: Aws, source: Source, ties: Json) -> Iterator[Order]:
    """What a restore does not take."""
    after, once = "restore", Once.DONE
    parameters = given(
        {
            "MaxAllocatedStorage": source.facts["most_gib"],
            "PreferredMaintenanceWindow": source.facts["maintenance_window"],
        }
    )
    if parameters:
        spec = {"parameters": parameters, "of": after}
        yield Order(_rds_instances.MODIFY.name, spec, step="modify", after=after)
        after, once = "modify", Once.OVER
    listing = _rds.INSTANCES
    yield from _rds_ties.orders(aws, source, ties, listing, "restore", after=after, once=once)


DRIVER = Driver(
    kind=_rds_instances.KIND,
    label="RDS database",
    label_plural="RDS databases",
    target_collection=_WORDS.collection,
    target_id_alias="db_instance",
    recovery_type="R",
    snapshot_collections=_rds_snapshots.collections(_WORDS, "RDS database"),
    effects=(
        *_rds_snapshots.effects(_WORDS),
        *_rds_copies.effects(_WORDS),
        _rds_instances.RESTORE,
        _rds_instances.MODIFY,
        _rds_instances.ADD_ROLE,
    ),
    watches=(_rds_snapshots.watch(_WORDS), _rds_instances.AVAILABLE),
    read_permissions=(
        _rds.INSTANCES.permission,
        _WORDS.listing.permission,
        _rds_network.PARAMETERS.permission,
        _rds_network.OPTIONS.permission,
        *_rds_network.READ_PERMISSIONS,
        *_kms.READ_PERMISSIONS,
    ),
    discover=_discover,
    describe=_describe,
    plan_snapshots=_plan_snapshots,
    plan_recovery=_plan_recovery,
    target_options=TargetOptions,
    recover_options=DatabaseOptions,
    limit="max_rds_gib",
    check_target=_check_target,
    plan_copy=partial(_rds_copies.plan, _WORDS),
    inventory=partial(_rds_snapshots.inventory, _WORDS),
    tag_rules=TagRules("rds", "db:", stands_for=_stands_for),
)
