"""RDS snapshots of instances and of clusters: one behaviour in two vocabularies.

A snapshot is found again by its name, which carries the token: that such a name exists already
means that an earlier attempt has made it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cpm.aws import tags
from cpm.aws.sessions import Aws
from cpm.kernel.faults import Fault, FaultKind
from cpm.resources import _rds
from cpm.resources.contract import (
    Ask,
    Effect,
    Json,
    Order,
    Owned,
    Part,
    Refs,
    Resource,
    SnapshotCollection,
    State,
    Verdict,
    Watch,
)

_STATES = {
    "available": State.DONE,
    "copying": State.PENDING,
    "creating": State.PENDING,
    "deleting": State.GONE,
    "failed": State.FAILED,
}


@dataclass(frozen=True, slots=True)
class Words:
    """What AWS and the API call the snapshots of one kind of database."""

    kind: str
    collection: str
    copies: str  # the collection of copies in other places
    watch: str
    source: _rds.Listing
    listing: _rds.Listing
    arn_type: str
    encrypted: str
    # What a copy says of the snapshot that it is of.
    origin: str
    # How many copies AWS makes at once in one region.
    most_copies: int
    has_option_groups: bool = False

    @property
    def noun(self) -> str:
        """A snapshot, as operations name it."""
        return self.listing.noun


INSTANCES = Words(
    kind="rds_database",
    collection="rds_databases",
    copies="dr_rds_databases",
    watch="db_snapshot",
    source=_rds.INSTANCES,
    listing=_rds.Listing("DBSnapshot", "db-snapshot-id"),
    arn_type="snapshot",
    encrypted="Encrypted",
    origin="SourceDBSnapshotIdentifier",
    most_copies=20,
    has_option_groups=True,
)
CLUSTERS = Words(
    kind="rds_cluster",
    collection="rds_clusters",
    copies="dr_rds_clusters",
    watch="db_cluster_snapshot",
    source=_rds.CLUSTERS,
    listing=_rds.Listing("DBClusterSnapshot", "db-cluster-snapshot-id"),
    arn_type="cluster-snapshot",
    encrypted="StorageEncrypted",
    origin="SourceDBClusterSnapshotArn",
    most_copies=5,
)


def collections(words: Words, label: str) -> tuple[SnapshotCollection, SnapshotCollection]:
    """How the API lists the snapshots, and the copies of them in other places."""
    return (
        SnapshotCollection(
            name=words.collection,
            label=f"{label} snapshots",
            can_recover=True,
            copied_as=words.copies,
            expire="expire",
        ),
        SnapshotCollection(
            name=words.copies,
            label=f"{label} snapshots elsewhere",
            can_recover=True,
            is_copy=True,
            expire="expire",
        ),
    )


def order(words: Words, resource: Resource) -> Order:
    """The order of a snapshot of a database."""
    spec = {"resource_id": resource.resource_id, "tags": dict(resource.tags)}
    part = Part(
        kind=words.kind,
        collection=words.collection,
        resource_id=resource.resource_id,
        resource_name=resource.name,
        size_gib=resource.size_gib,
        encrypted=resource.facts["encrypted"],
        facts=resource.facts,
    )
    return Order("snapshot", spec, (part,))


def watch(words: Words) -> Watch:
    """The watch of snapshots and copies."""
    return Watch(words.watch, (words.listing.permission,), partial(_poll, words), _rds.PER_CALL)


def effects(words: Words) -> tuple[Effect, ...]:
    """Making a snapshot, deleting one, marking one as expired."""
    see, mark = words.listing.permission, "rds:AddTagsToResource"
    snapshot = Effect(
        name="snapshot",
        operation=f"rds:Create{words.noun}",
        permissions=(f"rds:Create{words.noun}", mark, see),
        start=partial(_start, words),
        find=partial(find, words),
        watch=words.watch,
        at_source=True,
    )
    deletion = Effect(
        name="delete",
        operation=f"rds:Delete{words.noun}",
        permissions=(f"rds:Delete{words.noun}", see),
        start=partial(_start_deletion, words),
    )
    expiry = Effect(
        name="expire", operation=mark, permissions=(mark,), start=partial(_start_expiry, words)
    )
    return snapshot, deletion, expiry


def find(words: Words, aws: Aws, ask: Ask) -> Refs | None:
    """The snapshot that an earlier attempt has made, by what it is of."""
    name = name_for(ask)
    found = _rds.one(aws, words.listing, name)
    return {ask.spec["resource_id"]: name} if found else None


def name_for(ask: Ask) -> str:
    """What the snapshot that is asked for is called."""
    return _rds.snapshot_name(ask.spec["resource_id"], ask.token)


def make(words: Words, aws: Aws, operation: str, name: str, **parameters: object) -> str:
    """Have AWS make a snapshot of that name, which carries a token; its name."""
    try:
        aws.call("rds", operation, **parameters)
    except Fault as fault:
        if not _rds.is_taken(fault, words.listing):
            raise
    return name


def delete(words: Words, aws: Aws, name: str) -> None:
    """Delete a snapshot; one that is gone already, or about to be, is fine."""
    try:
        aws.call("rds", f"Delete{words.noun}", **{words.listing.id: name})
    except Fault as fault:
        if fault.kind is FaultKind.LOCKED:
            found = _rds.one(aws, words.listing, name)
            if found is None or found["Status"] == "deleting":
                return
        if fault.kind is not FaultKind.MISSING:
            raise


def expire(words: Words, aws: Aws, name: str, expired_at: str) -> None:
    """Mark a snapshot that may not be deleted; one that is gone needs it no more."""
    marks = tags.to_aws({tags.EXPIRED: expired_at})
    arn = _rds.arn(aws.partition, aws.region, aws.account_number, words.arn_type, name)
    try:
        aws.call("rds", "AddTagsToResource", ResourceName=arn, Tags=marks)
    except Fault as fault:
        if fault.kind is not FaultKind.MISSING:
            raise


def inventory(words: Words, aws: Aws, server_id: str) -> Iterator[Owned]:
    """All snapshots in the region that carry the server's marks."""
    for snapshot in _rds.everything(aws, words.listing, SnapshotType="manual"):
        carried = _rds.tags_of(snapshot)
        if carried.get(tags.SERVER_ID) == server_id:
            yield Owned(
                collection=words.copies if snapshot.get(words.origin) else words.collection,
                aws_ref=snapshot[words.listing.id],
                resource_id=snapshot[words.source.id],
                marks={key: value for key, value in carried.items() if key in tags.OWN},
                state=_STATES.get(snapshot["Status"], State.UNKNOWN),
                facts=_facts(words, snapshot),
            )


def _start(words: Words, aws: Aws, ask: Ask) -> Refs:
    resource_id, name = ask.spec["resource_id"], name_for(ask)
    made = make(
        words,
        aws,
        f"Create{words.noun}",
        name,
        **{words.listing.id: name, words.source.id: resource_id},
        Tags=tags.to_aws(tags.merged(ask.marks, ask.spec["tags"])),
    )
    return {resource_id: made}


def _start_deletion(words: Words, aws: Aws, ask: Ask) -> Refs:
    delete(words, aws, ask.spec["aws_ref"])
    return {}


def _start_expiry(words: Words, aws: Aws, ask: Ask) -> Refs:
    expire(words, aws, ask.spec["aws_ref"], ask.spec["expired_at"])
    return {}


def _poll(words: Words, aws: Aws, refs: Sequence[str]) -> Mapping[str, Verdict]:
    listing = words.listing
    found = {each[listing.id]: each for each in _rds.by_ids(aws, listing, refs)}
    return {ref: _verdict(words, found.get(ref)) for ref in refs}


def _verdict(words: Words, snapshot: Json | None) -> Verdict:
    if snapshot is None:
        return Verdict(State.GONE)
    status = snapshot["Status"]
    state = _STATES.get(status, State.UNKNOWN)
    if state is State.DONE:
        return Verdict(state, 100, facts=_facts(words, snapshot))
    reason = "AWS reports that it failed" if state is State.FAILED else ""
    return Verdict(state, snapshot.get("PercentProgress", 0), reason)


def _facts(words: Words, snapshot: Json) -> Json:
    return {
        "size_gib": snapshot.get("AllocatedStorage", 0),
        "encrypted": snapshot.get(words.encrypted, False),
        "kms_key_id": snapshot.get("KmsKeyId"),
    }
