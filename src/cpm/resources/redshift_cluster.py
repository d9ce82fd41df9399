"""Redshift clusters: manual snapshots of them, and clusters restored from these.

AWS shares snapshots of Redshift and does not copy them: an account for disaster recovery is let in
where they are. Redshift Serverless is another service, and not dealt with.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cpm.aws.sessions import Aws
from cpm.resources import (
    _redshift,
    _redshift_recovery,
    _redshift_restores,
    _redshift_snapshots,
)
from cpm.resources._redshift_options import RecoverOptions
from cpm.resources.contract import Driver, Order, Resource, SnapshotCollection, TagRules, Where
from cpm.resources.copied import CopyWish


@dataclass(frozen=True)
class TargetOptions:
    """A cluster has nothing to choose."""


def _discover(aws: Aws) -> Iterator[Resource]:
    for cluster in _redshift.clusters(aws):
        yield _redshift.resource(aws, cluster)


def _describe(aws: Aws, ids: Iterable[str]) -> Iterator[Resource]:
    for cluster in _redshift.clusters(aws, ids):
        yield _redshift.resource(aws, cluster)


def _plan_snapshots(cluster: Resource, _options: Any) -> Iterator[Order]:
    yield _redshift_snapshots.order(cluster)


def _plan_copy(_aws: Aws, wish: CopyWish) -> list[Order]:
    """Let the other account in; to another region there is no way."""
    if not wish.crosses_accounts:
        return []
    spec = {"snapshot": wish.original.aws_ref, "account": wish.target_account}
    return [Order(_redshift_snapshots.SHARE.name, spec, step="share", where=Where.SOURCE)]


DRIVER = Driver(
    kind=_redshift.KIND,
    label="Redshift cluster",
    label_plural="Redshift clusters",
    target_collection="redshift_clusters",
    target_id_alias="cluster",
    recovery_type="H",
    snapshot_collections=(
        SnapshotCollection(
            name=_redshift.COLLECTION,
            label="Redshift snapshots",
            can_recover=True,
            reported_since="1.1.0",
        ),
    ),
    effects=(
        _redshift_snapshots.CREATE,
        _redshift_snapshots.DELETE,
        _redshift_snapshots.SHARE,
        _redshift_restores.RESTORE,
        _redshift_restores.UNTAG,
        _redshift_restores.TAG,
    ),
    watches=(_redshift_snapshots.WATCH, _redshift_restores.WATCH),
    read_permissions=(
        "ec2:DescribeSecurityGroups",
        "redshift:DescribeClusterParameterGroups",
        "redshift:DescribeClusterSnapshots",
        "redshift:DescribeClusterSubnetGroups",
        "redshift:DescribeClusters",
    ),
    discover=_discover,
    describe=_describe,
    plan_snapshots=_plan_snapshots,
    plan_recovery=_redshift_recovery.plan,
    target_options=TargetOptions,
    recover_options=RecoverOptions,
    limit="max_redshift_gib",
    plan_copy=_plan_copy,
    inventory=_redshift_snapshots.owned,
    tag_rules=TagRules("redshift", "cluster:"),
)
