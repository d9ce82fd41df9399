"""RDS clusters: Aurora, whose members are made anew one by one, and Multi-AZ clusters."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from cpm.aws.sessions import Aws
from cpm.resources import (
    _kms,
    _rds,
    _rds_clusters,
    _rds_copies,
    _rds_instances,
    _rds_members,
    _rds_network,
    _rds_snapshots,
    _rds_ties,
)
from cpm.resources._rds_options import ClusterOptions
from cpm.resources._rds_recovery import available_snapshot, chosen, dropped, given
from cpm.resources._recovery import wanted_tags
from cpm.resources.contract import Driver, Json, Order, Resource, TagRules
from cpm.resources.copied import Source

_WORDS = _rds_snapshots.CLUSTERS


@dataclass(frozen=True)
class TargetOptions:
    """A cluster has nothing to choose."""


def _discover(aws: Aws) -> Iterator[Resource]:
    return _rds_clusters.resources(aws, _rds.everything(aws, _rds.CLUSTERS))


def _describe(aws: Aws, ids: Iterable[str]) -> Iterator[Resource]:
    return _rds_clusters.resources(aws, _rds.by_ids(aws, _rds.CLUSTERS, ids))


def _plan_snapshots(cluster: Resource, _options: Any) -> Iterator[Order]:
    yield _rds_snapshots.order(_WORDS, cluster)


def _plan_recovery(aws: Aws, source: Source, options: ClusterOptions) -> list[Order]:
    copy = source.copies[0]
    snapshot = available_snapshot(_WORDS, aws, copy)
    _rds.check_tags(options.additional_tags)
    _rds_members.check(aws, source, options, snapshot)
    group = _rds_network.subnet_group(aws, source, options.db_subnet_group)
    parameters = {
        "SnapshotIdentifier": copy.aws_ref,
        "Engine": snapshot["Engine"],
        "EngineVersion": snapshot["EngineVersion"],
        **given(_network(aws, source, options, group)),
        **given(_settings(aws, source, options)),
        **given(_capacity(source.facts, options)),
    }
    spec = {
        **_naming(aws, source, options),
        "tags": wanted_tags(options, source.facts["tags"]),
        "parameters": parameters,
    }
    ties = _ties(source.facts)
    lost = dropped(source.facts, parameters, options.vpc_security_groups)
    members_ties = (each.get("ties") or _rds_ties.NONE for each in source.facts["members"])
    untied = (_rds_ties.dropped(aws, source, each) for each in (ties, *members_ties))
    notes = (*lost, *dict.fromkeys(chain.from_iterable(untied)))
    cluster = Order(_rds_clusters.RESTORE.name, spec, step="cluster", notes=notes)
    members = list(_rds_members.orders(aws, source, options, group))
    after = members[0].step if members else cluster.step
    tied = _rds_ties.orders(aws, source, ties, _rds.CLUSTERS, cluster.step, after=after)
    return [cluster, *members, *tied]


def _ties(facts: Json) -> Json:
    ties: Json = facts.get("ties") or _rds_ties.NONE
    return _rds_ties.of_aurora(ties) if _rds_clusters.is_aurora(facts) else ties


def _naming(aws: Aws, source: Source, options: ClusterOptions) -> Json:
    field, asked = "cluster_identifier", options.cluster_identifier
    taken = _rds.taken(aws, _rds.CLUSTERS, [asked, source.resource_id])
    return _rds.naming(field, asked, source.resource_id, taken)


def _network(aws: Aws, source: Source, options: ClusterOptions, group: Json | None) -> Json:
    facts = source.facts
    groups = _rds_network.security_groups(aws, source, options.vpc_security_groups, group)
    return {
        "DBSubnetGroupName": group["DBSubnetGroupName"] if group else None,
        "VpcSecurityGroupIds": groups,
        "Port": chosen(options.port, facts["port"]),
        "NetworkType": facts["network_type"] if _rds_network.is_original(source, group) else None,
    }


def _settings(aws: Aws, source: Source, options: ClusterOptions) -> Json:
    facts = source.facts
    asked, original = options.parameter_group, facts["parameter_group"]
    parameters = _rds_network.group(aws, source, _rds_network.CLUSTER_PARAMETERS, asked, original)
    return {
        "DBClusterParameterGroupName": parameters,
        "DeletionProtection": facts["deletion_protection"],
        "EnableIAMDatabaseAuthentication": facts["iam_authentication"] or None,
        "CopyTagsToSnapshot": facts["copy_tags"] or None,
        "EnableCloudwatchLogsExports": facts["log_exports"],
        "BacktrackWindow": facts["backtrack_seconds"] or None,
        "EngineLifecycleSupport": facts["lifecycle"],
    }


def _capacity(facts: Json, options: ClusterOptions) -> Json:
    if _rds_clusters.is_serverless(facts):
        return {"EngineMode": facts["engine_mode"], "ScalingConfiguration": facts["scaling"]}
    if _rds_clusters.is_aurora(facts):
        return {
            "StorageType": facts["storage_type"] if _is_chosen(facts) else None,
            "ServerlessV2ScalingConfiguration": facts["serverless_v2"],
        }
    return {
        "DBClusterInstanceClass": options.instance_class or facts["instance_class"],
        "StorageType": facts["storage_type"],
        "Iops": facts["iops"],
        "PubliclyAccessible": chosen(options.publicly_accessible, facts["publicly_accessible"]),
    }


def _is_chosen(facts: Json) -> bool:
    """Whether Aurora's storage is of a type that is asked for, and not what there is anyway."""
    return str(facts["storage_type"]).startswith("aurora")


DRIVER = Driver(
    kind=_rds_clusters.KIND,
    label="RDS cluster",
    label_plural="RDS clusters",
    target_collection=_WORDS.collection,
    target_id_alias="cluster",
    recovery_type="A",
    snapshot_collections=_rds_snapshots.collections(_WORDS, "RDS cluster"),
    effects=(
        *_rds_snapshots.effects(_WORDS),
        *_rds_copies.effects(_WORDS),
        _rds_clusters.RESTORE,
        _rds_clusters.MODIFY,
        _rds_clusters.ADD_ROLE,
        _rds_instances.CREATE_WRITER,
        _rds_instances.CREATE_READER,
        _rds_instances.MODIFY,
    ),
    watches=(
        _rds_snapshots.watch(_WORDS),
        _rds_clusters.AVAILABLE,
        _rds_instances.AVAILABLE,
    ),
    read_permissions=(
        _rds.CLUSTERS.permission,
        _rds.INSTANCES.permission,
        _WORDS.listing.permission,
        _rds_network.CLUSTER_PARAMETERS.permission,
        _rds_network.PARAMETERS.permission,
        *_rds_network.READ_PERMISSIONS,
        *_kms.READ_PERMISSIONS,
    ),
    discover=_discover,
    describe=_describe,
    plan_snapshots=_plan_snapshots,
    plan_recovery=_plan_recovery,
    target_options=TargetOptions,
    recover_options=ClusterOptions,
    limit="max_rds_gib",
    plan_copy=partial(_rds_copies.plan, _WORDS),
    inventory=partial(_rds_snapshots.inventory, _WORDS),
    tag_rules=TagRules("rds", "cluster:"),
)
