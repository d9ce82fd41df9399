"""RDS snapshots: creating, then available or failed; found, listed, shown as in RDS."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from moto.rds.models import RDSBackend, rds_backends

from cpm.simulator import kms_keys, making
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.config import Config
from cpm.simulator.lives import State
from cpm.simulator.rds_kinds import KINDS, Kind, backend, invalid_value
from cpm.simulator.rds_listing import Field, matching, page

_STATUS = {State.PENDING: "creating", State.DONE: "available", State.FAILED: "failed"}
_OWN_TYPES = ("automated", "manual")
_TYPES = (*_OWN_TYPES, "shared", "public", "awsbackup")


def install(handlers: Handlers) -> None:
    """List snapshots as RDS does."""
    for kind in KINDS:
        handlers.add("rds", {f"Describe{kind.noun}s": partial(describe_snapshots, kind=kind)})


class Shared:
    """A snapshot as accounts see it that it was shared with: named by its ARN, without tags."""

    def __init__(self, kind: Kind, snapshot: Any) -> None:
        self._snapshot = snapshot
        setattr(self, kind.id_name, snapshot.arn)
        self.tag_list: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._snapshot, name)


def settle(config: Config, snapshot: Any) -> State:
    """Look at the clock: the state by now, also shown as the snapshot's status."""
    state = making.settle(config, snapshot)
    snapshot.status = _STATUS[state]
    snapshot.percent_progress = making.progress_percent(snapshot)
    return state


def own(call: Call, kind: Kind, name: str) -> Any:
    """A snapshot of the caller's own in the region that is called, settled; raises if missing."""
    rds = backend(call.account, call.region)
    if name.startswith("arn:"):
        region, account, name = _parts(kind, name)
        if (region, account) != (call.region, call.account):
            raise kind.missing(name)
    snapshot = kind.table(rds).get(name)
    if snapshot is None:
        raise kind.missing(name)
    settle(call.config, snapshot)
    return snapshot


def usable(call: Call, kind: Kind, name: str) -> Any:
    """A snapshot that the caller owns or was given, by name or ARN, from any region, settled."""
    if not name.startswith("arn:"):
        return own(call, kind, name)
    region, account, short = _parts(kind, name)
    snapshot = kind.table(backend(account, region)).get(short)
    if snapshot is None or not is_visible_to(snapshot, call.account):
        raise kind.missing(name)
    settle(call.config, snapshot)
    return snapshot


def is_visible_to(snapshot: Any, account: str) -> bool:
    """Whether the account owns the snapshot or was given it."""
    return account == snapshot.account_id or _is_given_to(snapshot, account)


def key_of(snapshot: Any) -> Any:
    """The KMS key that the snapshot is encrypted with, None when it is not or the key is gone."""
    if not is_encrypted(snapshot):
        return None
    return kms_keys.find(snapshot.account_id, snapshot.region, snapshot.kms_key_id)


def is_encrypted(snapshot: Any) -> bool:
    """Whether the data are encrypted."""
    return bool(snapshot.encrypted)


def describe_snapshots(call: Call, kind: Kind) -> Mapping[str, Any]:
    """The snapshots that the caller asks for: its own, and on request what others gave it."""
    candidates = [item for item in _candidates(call, kind) if making.is_listed(item)]
    for snapshot in candidates:
        settle(call.config, snapshot)
    found = matching(_named(call, kind, candidates), call, _fields(kind))
    name = call.get(kind.id_name)
    if name and not found and not call.get(kind.source_id_name):
        raise kind.missing(name)
    snapshots, marker = page(call, found, lambda snapshot: str(snapshot.arn))
    shown = [item if item.account_id == call.account else Shared(kind, item) for item in snapshots]
    return {f"{kind.noun}s": shown, "Marker": marker}


def _parts(kind: Kind, arn: str) -> tuple[str, str, str]:
    # arn:aws:rds:REGION:ACCOUNT:TYPE:NAME, and names of automated snapshots have a colon too.
    pieces = arn.split(":", 6)
    if len(pieces) < 7 or pieces[2] != "rds" or pieces[5] != kind.arn_type:
        raise invalid_value(f"Invalid snapshot ARN: {arn}")
    return pieces[3], pieces[4], pieces[6]


def _candidates(call: Call, kind: Kind) -> Iterator[Any]:
    wanted = call.get("SnapshotType")
    if wanted is not None and wanted not in _TYPES:
        raise invalid_value(f"Invalid value {wanted} for SnapshotType")
    if wanted in (None, *_OWN_TYPES):
        own_ones = kind.table(backend(call.account, call.region)).values()
        types = (wanted,) if wanted else _OWN_TYPES
        yield from [item for item in own_ones if item.snapshot_type in types]
    if wanted == "shared" or (wanted is None and call.get("IncludeShared")):
        yield from _given(call, kind, call.account)
    if wanted == "public" or (wanted is None and call.get("IncludePublic")):
        yield from _given(call, kind, "all")


def _given(call: Call, kind: Kind, receiver: str) -> Iterator[Any]:
    for rds in _neighbours(call):
        for snapshot in list(kind.table(rds).values()):
            if receiver in snapshot.attributes["restore"]:
                yield snapshot


def _neighbours(call: Call) -> Iterator[RDSBackend]:
    for account, regions in list(rds_backends.items()):
        if account != call.account and call.region in list(regions.keys()):
            yield regions[call.region]


def _is_given_to(snapshot: Any, account: str) -> bool:
    receivers = snapshot.attributes["restore"]
    return account in receivers or "all" in receivers


def _named(call: Call, kind: Kind, snapshots: list[Any]) -> list[Any]:
    name, source = call.get(kind.id_name), call.get(kind.source_id_name)
    if name:
        snapshots = [item for item in snapshots if name.lower() in (item.resource_id, item.arn)]
    if source:
        source_of = _fields(kind)[kind.source_filter]
        snapshots = [item for item in snapshots if source.lower() in source_of(item)]
    return snapshots


def _fields(kind: Kind) -> Mapping[str, Field[Any]]:
    def source_names(snapshot: Any) -> tuple[str, str]:
        source = getattr(snapshot, "database", None) or snapshot.cluster
        return source.resource_id, source.arn

    return {
        f"{kind.filter_prefix}-id": lambda item: (item.resource_id, item.arn),
        kind.source_filter: source_names,
        "snapshot-type": lambda item: (item.snapshot_type,),
        "engine": lambda item: (item.engine,),
        "dbi-resource-id": lambda item: (getattr(item, "dbi_resource_id", None),),
    }
