"""Redshift's snapshots: made under an identifier that holds the token, watched, shared, deleted."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _redshift
from cpm.resources.contract import (
    Ask,
    Effect,
    Json,
    Order,
    Owned,
    Part,
    Refs,
    Resource,
    State,
    Verdict,
    Watch,
)

# What AWS does in the caller's name where a snapshot is encrypted: sharing it is a grant.
_SHARING_OF_KEYS = ("kms:CreateGrant", "kms:DescribeKey")
_FOR_EVER = -1
_PREFIX = "cpm-"

_STATES = {
    "creating": State.PENDING,
    "final snapshot": State.PENDING,
    "available": State.DONE,
    "failed": State.FAILED,
    "deleted": State.GONE,
}


def order(cluster: Resource) -> Order:
    """The order of one snapshot of a cluster."""
    part = Part(
        kind=_redshift.KIND,
        collection=_redshift.COLLECTION,
        resource_id=cluster.resource_id,
        resource_name=cluster.name,
        encrypted=cluster.facts["encrypted"],
        facts=cluster.facts,
    )
    spec = {"cluster": cluster.resource_id, "tags": dict(cluster.tags)}
    return Order(CREATE.name, spec, (part,), step="snapshot")


def identifier(token: str) -> str:
    """What the snapshot of that token is called; Redshift gives no two the same identifier."""
    return f"{_PREFIX}{token}"


def token_of(name: str) -> str:
    """The token in the identifier of a snapshot."""
    return name.removeprefix(_PREFIX)


def owned(aws: Aws, server_id: str) -> Iterator[Owned]:
    """The snapshots of the region that carry the marks of a server."""
    by_tag = {"TagKeys": [tags.SERVER_ID], "TagValues": [server_id]}
    for snapshot in _redshift.snapshots(aws, SnapshotType="manual", **by_tag):
        carried = tags.from_aws(snapshot.get("Tags"))
        # AWS gives what has one of the keys and one of the values, on whichever tags.
        if carried.get(tags.SERVER_ID) == server_id:
            verdict = _verdict(snapshot)
            yield Owned(
                collection=_redshift.COLLECTION,
                aws_ref=snapshot["SnapshotIdentifier"],
                resource_id=snapshot["ClusterIdentifier"],
                marks={key: value for key, value in carried.items() if key in tags.OWN},
                state=verdict.state,
                facts=verdict.facts,
            )


def _create(aws: Aws, ask: Ask) -> Refs:
    name = identifier(ask.token)
    try:
        aws.call(
            "redshift",
            "CreateClusterSnapshot",
            SnapshotIdentifier=name,
            ClusterIdentifier=ask.spec["cluster"],
            ManualSnapshotRetentionPeriod=_FOR_EVER,
            Tags=tags.to_aws(tags.merged(ask.marks, ask.spec["tags"])),
        )
    except Fault as fault:
        # Then an earlier call has made it, though it may not be listed yet.
        if fault.code != "ClusterSnapshotAlreadyExists":
            raise
    return {ask.spec["cluster"]: name}


def _find(aws: Aws, ask: Ask) -> Refs | None:
    name = identifier(ask.token)
    found = next(_redshift.snapshots(aws, SnapshotIdentifier=name), None)
    return {ask.spec["cluster"]: name} if found else None


def _delete(aws: Aws, ask: Ask) -> Refs:
    """Delete a snapshot; other accounts that may restore it are shut out first."""
    name = ask.spec["aws_ref"]
    try:
        _delete_snapshot(aws, name)
    except Fault as fault:
        if fault.kind is not FaultKind.LOCKED or not _shut_out_others(aws, name):
            raise
        _delete_snapshot(aws, name)
    return {}


def _delete_snapshot(aws: Aws, name: str) -> None:
    try:
        aws.call("redshift", "DeleteClusterSnapshot", SnapshotIdentifier=name)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def _shut_out_others(aws: Aws, name: str) -> bool:
    """End all sharing of a snapshot; False when there was none."""
    found = next(_redshift.snapshots(aws, SnapshotIdentifier=name), {})
    others = [each["AccountId"] for each in found.get("AccountsWithRestoreAccess") or ()]
    for account in others:
        try:
            aws.call(
                "redshift",
                "RevokeSnapshotAccess",
                SnapshotIdentifier=name,
                AccountWithRestoreAccess=account,
            )
        except Fault as fault:
            if fault.kind is not FaultKind.MISSING:
                raise
    return bool(others)


def _share(aws: Aws, ask: Ask) -> Refs:
    """Let another account restore a snapshot; where it is encrypted AWS opens the key as well."""
    try:
        aws.call(
            "redshift",
            "AuthorizeSnapshotAccess",
            SnapshotIdentifier=ask.spec["snapshot"],
            AccountWithRestoreAccess=ask.spec["account"],
        )
    except Fault as fault:
        if fault.code != "AuthorizationAlreadyExists":
            raise
    return {}


def _poll(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    """What became of snapshots.

    AWS takes one identifier or gives all; accounts have few manual snapshots (20, unless they ask
    for more), so that all of them are a call.
    """
    missing = set(refs)
    verdicts: dict[str, Verdict] = {}
    for snapshot in _redshift.snapshots(aws, SnapshotType="manual"):
        name = snapshot["SnapshotIdentifier"]
        if name in missing:
            verdicts[name] = _verdict(snapshot)
            missing.remove(name)
        if not missing:
            break
    return verdicts | {ref: Verdict(State.GONE) for ref in missing}


def _verdict(snapshot: Json) -> Verdict:
    state = _STATES.get(snapshot["Status"], State.UNKNOWN)
    if state is State.DONE:
        return Verdict(state, 100, facts=_facts(snapshot))
    whole = snapshot.get("TotalBackupSizeInMegaBytes") or 0
    percent = int(100 * snapshot.get("BackupProgressInMegaBytes", 0) / whole) if whole > 0 else 0
    return Verdict(state, min(percent, 99))


def _facts(snapshot: Json) -> Json:
    begun: datetime | None = snapshot.get("SnapshotCreateTime")
    took = timedelta(seconds=snapshot.get("ElapsedTimeInSeconds") or 0)
    return {
        "size_gib": _redshift.gib(snapshot.get("TotalBackupSizeInMegaBytes") or 0),
        "encrypted": snapshot.get("Encrypted", False),
        "owner_account": snapshot.get("OwnerAccount", ""),
        **({"kms_key_id": snapshot["KmsKeyId"]} if snapshot.get("KmsKeyId") else {}),
        **({"finished_at": (begun + took).isoformat()} if begun else {}),
    }


_SEE = ("redshift:DescribeClusterSnapshots",)

WATCH = Watch("redshift_snapshot", _SEE, _poll, batch=_redshift.MOST_PER_CALL)

CREATE = Effect(
    name="snapshot_cluster",
    operation="redshift:CreateClusterSnapshot",
    permissions=("redshift:CreateClusterSnapshot", "redshift:CreateTags", *_SEE),
    start=_create,
    find=_find,
    watch=WATCH.name,
    at_source=True,
)
DELETE = Effect(
    name="delete",
    operation="redshift:DeleteClusterSnapshot",
    permissions=("redshift:DeleteClusterSnapshot", "redshift:RevokeSnapshotAccess", *_SEE),
    start=_delete,
)
SHARE = Effect(
    name="share_snapshot",
    operation="redshift:AuthorizeSnapshotAccess",
    permissions=("redshift:AuthorizeSnapshotAccess", *_SHARING_OF_KEYS),
    start=_share,
    at_source=True,
)
