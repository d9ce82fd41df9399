"""EBS snapshots: pending, then completed or in error; listed, made, deleted as in AWS."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_block_store import EBSBackend

from cpm.simulator import ec2_listing, ec2_state, ec2_tags
from cpm.simulator.calls import Call, Handler, Handlers
from cpm.simulator.config import Config
from cpm.simulator.ebs_contents import Contents
from cpm.simulator.ec2_encryption import PLAIN, Encryption
from cpm.simulator.ec2_errors import malformed, not_found
from cpm.simulator.ec2_filters import Field, matching
from cpm.simulator.ec2_paging import page, refuse_ids_with_pages
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import Life, State
from cpm.simulator.patches import replace

_STATUS = {State.PENDING: "pending", State.DONE: "completed", State.FAILED: "error"}


@dataclass(eq=False, kw_only=True)
class Upload:
    """How far a snapshot is that a client writes block by block.

    It is lost when no block comes for `timeout_minutes` and it is not sealed.
    """

    timeout_minutes: int
    parent_id: str | None = None
    written: set[int] = field(default_factory=set)
    progress_percent: int = 0
    sealed: bool = False


@dataclass(eq=False, kw_only=True)
class Snapshot:
    """A snapshot of a volume, or a copy of one.

    `origins` are ids of what it came from: it fails when the configuration says that one fails.
    `trouble` is why it will fail anyway. Those of one `lineage` can be compared block by block.
    """

    id: str
    ec2_backend: EC2Backend
    volume_id: str
    volume_size: int
    life: Life
    description: str = ""
    encryption: Encryption = PLAIN
    origins: frozenset[str] = frozenset()
    trouble: str = ""
    delete_requested: bool = False
    user_ids: set[str] = field(default_factory=set)
    is_public: bool = False
    storage_tier: str = "standard"
    contents: Contents = field(default_factory=Contents)
    lineage: str = ""
    upload: Upload | None = None

    @property
    def owner_id(self) -> str:
        """The account that owns it."""
        return self.ec2_backend.account_id

    @property
    def start_time(self) -> datetime:
        """When it was asked for."""
        return self.life.started_at

    @property
    def status(self) -> str:
        """`pending`, `completed` or `error`, as of the last look."""
        return _STATUS[self.life.state]

    def settle(self, config: Config) -> State:
        """Look at the clock: the state by now."""
        if self.is_open and self.life.is_due:
            self.trouble = "The snapshot was not completed in time"
        fails = bool(self.trouble or config.fail & (self.origins | {self.id}))
        return self.life.settle(fails=fails)

    @property
    def is_open(self) -> bool:
        """Whether a client may still write blocks to it."""
        return self.upload is not None and not self.upload.sealed

    def progress_percent(self) -> int:
        """How far it is, 100 when it is over."""
        if self.is_open and self.upload and self.life.state is State.PENDING:
            return min(self.upload.progress_percent, 99)
        return self.life.progress_percent()

    def is_usable_by(self, account: str) -> bool:
        """Whether `account` may make volumes of it and copy it."""
        return self.is_public or account == self.owner_id or account in self.user_ids

    def _state_message(self) -> str | None:
        return self.trouble or None if self.life.state is State.FAILED else None

    def shown(self, viewer: str) -> dict[str, Any]:
        """As the API shows it to the account `viewer`, with the tags that this account gave it."""
        mine = ec2_state.backend(viewer, self.ec2_backend.region_name)
        return {
            "SnapshotId": self.id,
            "VolumeId": self.volume_id,
            "State": self.status,
            "StateMessage": self._state_message(),
            "StartTime": self.start_time,
            "Progress": f"{self.progress_percent()}%",
            "OwnerId": self.owner_id,
            "VolumeSize": self.volume_size,
            "Description": self.description,
            "Encrypted": self.encryption.encrypted,
            "KmsKeyId": self.encryption.kms_key_id,
            "StorageTier": self.storage_tier,
            "Tags": ec2_tags.shown(mine, self.id) or None,
        }


_FIELDS: Mapping[str, Field[Snapshot]] = {
    "description": lambda snapshot: snapshot.description,
    "encrypted": lambda snapshot: snapshot.encryption.encrypted,
    "owner-alias": lambda _: None,
    "owner-id": lambda snapshot: snapshot.owner_id,
    "progress": lambda snapshot: f"{snapshot.progress_percent()}%",
    "snapshot-id": lambda snapshot: snapshot.id,
    "start-time": lambda snapshot: snapshot.start_time,
    "status": lambda snapshot: snapshot.status,
    "storage-tier": lambda snapshot: snapshot.storage_tier,
    "volume-id": lambda snapshot: snapshot.volume_id,
    "volume-size": lambda snapshot: snapshot.volume_size,
}


def _not_moto(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("Snapshots are not moto's here.")


_GAPS: Mapping[str, Handler] = dict.fromkeys(
    ("ModifySnapshotTier", "RestoreSnapshotTier", "DescribeSnapshotTierStatus"), _not_moto
)


def install(handlers: Handlers) -> None:
    """List snapshots as EC2 does; keep moto from making its own beside them."""
    handlers.add("ec2", {"DescribeSnapshots": describe_snapshots, **_GAPS})
    for name in ("create_snapshot", "create_snapshots", "copy_snapshot"):
        replace(EBSBackend, name, _not_moto)


def table(ec2: EC2Backend) -> dict[str, Snapshot]:
    """The snapshots that one account has in one region."""
    return ec2_state.table(ec2, "snapshots")


def make(ec2: EC2Backend, call: Call, tags: Mapping[str, str], **facts: Any) -> Snapshot:
    """A new pending snapshot with these facts and tags, in the tables of `ec2`."""
    snapshot = Snapshot(
        id=ec2_state.new_id("snap"), ec2_backend=ec2, life=Life.of(call.config.pending), **facts
    )
    ec2_tags.put(ec2, snapshot.id, tags)
    table(ec2)[snapshot.id] = snapshot
    ec2_listing.hide(ec2, snapshot.id, call.listed_at())
    return snapshot


def remove(snapshot: Snapshot) -> None:
    """Take a snapshot and its tags out of the tables."""
    ec2 = snapshot.ec2_backend
    table(ec2).pop(snapshot.id, None)
    ec2_tags.drop(ec2, snapshot.id)


def own(call: Call, snapshot_id: str) -> Snapshot:
    """A snapshot of the caller's; raises InvalidSnapshot.NotFound."""
    check_id(snapshot_id)
    ec2 = ec2_state.backend(call.account, call.region)
    found = _look_up(call.config, ec2, snapshot_id)
    if found is None:
        raise missing(snapshot_id)
    return found


def usable(call: Call, region: str, snapshot_id: str) -> Snapshot:
    """A snapshot in `region` that the caller owns or was given; raises InvalidSnapshot.NotFound."""
    check_id(snapshot_id)
    here = ec2_state.backend(call.account, region)
    for ec2 in (here, *ec2_state.neighbours(call.account, region)):
        found = _look_up(call.config, ec2, snapshot_id)
        if found is not None and found.is_usable_by(call.account):
            return found
    raise missing(snapshot_id)


def anyones(call: Call, snapshot_id: str) -> Snapshot | None:
    """A snapshot in the caller's region, whoever owns it; None when there is none."""
    here = ec2_state.backend(call.account, call.region)
    found = _look_up(call.config, here, snapshot_id)
    if found is not None:
        return found
    others = ec2_state.neighbours(call.account, call.region)
    return next(filter(None, (_look_up(call.config, ec2, snapshot_id) for ec2 in others)), None)


def missing(*snapshot_ids: str) -> AwsError:
    """What EC2 says of snapshots that the caller cannot see."""
    return not_found("InvalidSnapshot.NotFound", "snapshot", snapshot_ids)


def check_id(snapshot_id: str) -> None:
    """Raise unless this could be a snapshot's id."""
    if not snapshot_id.startswith("snap-"):
        raise malformed("InvalidSnapshotID.Malformed", snapshot_id, "snap")


def describe_snapshots(call: Call) -> Mapping[str, Any]:
    """The snapshots that the caller may see, by owner, by who may restore them, by filters."""
    refuse_ids_with_pages(call, "SnapshotIds", "snapshotSet")
    snapshot_ids = call.get("SnapshotIds")
    candidates = _by_ids(call, snapshot_ids) if snapshot_ids else _visible(call)
    restorable = _restorable(call, _with_owners(call, candidates))
    filters = call.get("Filters", [])
    ec2 = ec2_state.backend(call.account, call.region)
    found = matching(restorable, filters, _FIELDS, lambda snapshot: ec2_tags.of(ec2, snapshot.id))
    snapshots, token = page(call, found, lambda snapshot: snapshot.id)
    return {
        "Snapshots": [snapshot.shown(call.account) for snapshot in snapshots],
        "NextToken": token,
    }


def _look_up(config: Config, ec2: EC2Backend, snapshot_id: str) -> Snapshot | None:
    found = table(ec2).get(snapshot_id)
    return found if found is not None and _still_there(config, found) else None


def _still_there(config: Config, snapshot: Snapshot) -> bool:
    if snapshot.settle(config) is State.PENDING or not snapshot.delete_requested:
        return True
    remove(snapshot)
    return False


def _listed(config: Config, ec2: EC2Backend) -> list[Snapshot]:
    present = [item for item in list(table(ec2).values()) if _still_there(config, item)]
    return ec2_listing.listed(ec2, present)


def _by_ids(call: Call, snapshot_ids: Iterable[str]) -> list[Snapshot]:
    found: dict[str, Snapshot | None] = {}
    for snapshot_id in snapshot_ids:
        check_id(snapshot_id)
        found[snapshot_id] = _listed_by_id(call, snapshot_id)
    unknown = [snapshot_id for snapshot_id, snapshot in found.items() if snapshot is None]
    if unknown:
        raise missing(*unknown)
    return [snapshot for snapshot in found.values() if snapshot is not None]


def _listed_by_id(call: Call, snapshot_id: str) -> Snapshot | None:
    try:
        snapshot = usable(call, call.region, snapshot_id)
    except AwsError:
        return None
    return snapshot if ec2_listing.is_listed(snapshot.ec2_backend, snapshot_id) else None


def _visible(call: Call) -> list[Snapshot]:
    mine = _listed(call.config, ec2_state.backend(call.account, call.region))
    if call.get("OwnerIds") == ["self"]:
        return mine
    given = [
        snapshot
        for ec2 in ec2_state.neighbours(call.account, call.region)
        for snapshot in _listed(call.config, ec2)
        if snapshot.is_usable_by(call.account)
    ]
    return mine + given


def _with_owners(call: Call, snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    owners = {call.account if owner == "self" else owner for owner in call.get("OwnerIds", [])}
    return [item for item in snapshots if not owners or item.owner_id in owners]


def _restorable(call: Call, snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    users = set(call.get("RestorableByUserIds", []))
    return [item for item in snapshots if not users or _is_restorable_by(item, users, call.account)]


def _is_restorable_by(snapshot: Snapshot, users: set[str], caller: str) -> bool:
    if "all" in users and snapshot.is_public:
        return True
    if "self" in users and snapshot.is_usable_by(caller):
        return True
    return bool(users & snapshot.user_ids) or snapshot.owner_id in users
