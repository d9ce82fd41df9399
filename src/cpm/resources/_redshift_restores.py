"""The effects that restore a cluster, give it its tags, and take it back."""

from collections.abc import Mapping, Sequence

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _redshift
from cpm.resources._restored import Restored
from cpm.resources.contract import Ask, Effect, Json, Refs, State, Verdict, Watch

# What a cluster shares with the snapshot that it was restored from, whatever was asked for.
ALIKE = ("DBName", "MasterUsername")
_BROKEN = ("hardware-failure", "incompatible")


def _restore(aws: Aws, ask: Ask) -> Refs:
    aws.call("redshift", "RestoreFromClusterSnapshot", **ask.spec["parameters"])
    return _wanted(ask).refs


def _find(aws: Aws, ask: Ask) -> Refs | None:
    """The cluster, if it was restored from such a snapshot and nobody else has tagged it."""
    wanted = _wanted(ask)
    found = _redshift.cluster(aws, wanted.name)
    if found is None or not found.get("RestoreStatus"):
        return None
    is_alike = {name: found.get(name) for name in ALIKE} == ask.spec["like"]
    return wanted.refs if is_alike and not wanted.is_anothers(_tags_of(found)) else None


def _wanted(ask: Ask) -> Restored:
    name = ask.spec["parameters"]["ClusterIdentifier"]
    # In its own account and region a cluster takes over the tags of its snapshot.
    return Restored(name, (ask.token, ask.spec["copy_token"]))


def _take_back(aws: Aws, refs: Refs) -> None:
    made = Restored.in_refs(refs)
    found = _redshift.cluster(aws, made.name)
    if found is None or made.is_anothers(_tags_of(found)):
        return
    aws.call(
        "redshift",
        "DeleteCluster",
        ClusterIdentifier=made.name,
        SkipFinalClusterSnapshot=True,
    )


def _untag(aws: Aws, ask: Ask) -> Refs:
    """Take away what the cluster has from its snapshot and is not to have."""
    made, found = _restored(aws, ask)
    kept = tags.merged(made.marks(ask), ask.spec["tags"])
    surplus = [key for key in tags.of_resource(_tags_of(found)) if key not in kept]
    if surplus:
        arn = _redshift.arn(aws, found)
        aws.call("redshift", "DeleteTags", ResourceName=arn, TagKeys=surplus)
    return {}


def _tag(aws: Aws, ask: Ask) -> Refs:
    made, found = _restored(aws, ask)
    wanted = tags.merged(made.marks(ask), ask.spec["tags"])
    arn = _redshift.arn(aws, found)
    aws.call("redshift", "CreateTags", ResourceName=arn, Tags=tags.to_aws(wanted))
    return {"cluster": made.name}


def _restored(aws: Aws, ask: Ask) -> tuple[Restored, Json]:
    """What the chain has restored, as AWS describes it. Raises Fault where it is not (ours)."""
    made = Restored.before(ask)
    found = _redshift.cluster(aws, made.name)
    if found is None:
        raise Fault(FaultKind.MISSING, f"cluster {made.name} does not exist any longer")
    made.refuse_anothers(_tags_of(found))
    return made, found


def _tags_of(described: Json) -> dict[str, str]:
    return tags.from_aws(described.get("Tags"))


def _poll(aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    names = {ref: Restored.of(ref).name for ref in refs}
    found = {
        each["ClusterIdentifier"]: _verdict(each)
        for each in _redshift.clusters(aws, names.values())
    }
    return {ref: found.get(name, Verdict(State.GONE)) for ref, name in names.items()}


def _verdict(cluster: Json) -> Verdict:
    status = cluster["ClusterStatus"]
    if status.startswith("available"):
        return Verdict(State.DONE, 100)
    if status.startswith(_BROKEN):
        return Verdict(State.FAILED, reason=f"the cluster is {status}")
    progress = cluster.get("RestoreStatus") or {}
    whole = progress.get("SnapshotSizeInMegaBytes") or 0
    percent = 100 * progress.get("ProgressInMegaBytes", 0) // whole if whole > 0 else 0
    return Verdict(State.PENDING, min(percent, 99))


_SEE = ("redshift:DescribeClusters",)

WATCH = Watch("redshift_cluster", _SEE, _poll, batch=_redshift.MOST_PER_CALL)

RESTORE = Effect(
    name="restore_cluster",
    operation="redshift:RestoreFromClusterSnapshot",
    permissions=("redshift:RestoreFromClusterSnapshot", "iam:PassRole", *_SEE),
    start=_restore,
    find=_find,
    watch=WATCH.name,
    undo=_take_back,
    undo_permissions=("redshift:DeleteCluster", *_SEE),
)
UNTAG = Effect(
    name="untag_cluster",
    operation="redshift:DeleteTags",
    permissions=("redshift:DeleteTags", *_SEE),
    start=_untag,
)
TAG = Effect(
    name="tag_cluster",
    operation="redshift:CreateTags",
    permissions=("redshift:CreateTags", *_SEE),
    start=_tag,
    makes_result=True,
)
