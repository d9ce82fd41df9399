"""StartSnapshot, PutSnapshotBlock, CompleteSnapshot: snapshots made of blocks that a client has."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cpm.kernel import clock
from cpm.simulator import ebs_access, ebs_errors, ec2_encryption, ec2_snapshots, ec2_state, ec2_tags
from cpm.simulator.calls import Call, Direct, Handlers
from cpm.simulator.ebs_contents import BLOCKS_PER_GIB, Contents
from cpm.simulator.ebs_errors import invalid
from cpm.simulator.ebs_requests import read, required
from cpm.simulator.ebs_store import BLOCK_BYTES, STORE
from cpm.simulator.ec2_encryption import PLAIN, Encryption
from cpm.simulator.ec2_snapshots import Snapshot, Upload
from cpm.simulator.errors import AwsError
from cpm.simulator.lives import Life, State
from cpm.simulator.web import Answer, json_answer

_MOST_GIB = 65_536
_MINUTES = range(10, 4321)
_USUAL_MINUTES = 60
_NO_VOLUME = "vol-ffffffff"
_VALUE = "INVALID_PARAMETER_VALUE"


def install(handlers: Handlers) -> None:
    """Answer the writing half of the EBS direct APIs."""
    handlers.add_direct(
        "ebs",
        {
            "StartSnapshot": Direct(read, start_snapshot),
            "PutSnapshotBlock": Direct(read, put_snapshot_block),
            "CompleteSnapshot": Direct(read, complete_snapshot),
        },
    )


def start_snapshot(call: Call) -> Answer:
    """A pending snapshot that takes blocks; the same client token gives the same one again."""
    ebs_access.spend(call)
    with call.lock:
        snapshot = _earlier(call) or _start(call)
        upload = snapshot.upload
        encryption = snapshot.encryption
        shown = {
            "SnapshotId": snapshot.id,
            "OwnerId": snapshot.owner_id,
            "Status": snapshot.status,
            "StartTime": snapshot.start_time.timestamp(),
            "VolumeSize": snapshot.volume_size,
            "BlockSize": BLOCK_BYTES,
            "Description": snapshot.description or None,
            "Tags": ec2_tags.shown(snapshot.ec2_backend, snapshot.id) or None,
            "ParentSnapshotId": upload.parent_id if upload else None,
            "KmsKeyArn": encryption.kms_key_id,
            "SseType": "sse-kms" if encryption.encrypted else "none",
        }
    return json_answer({name: value for name, value in shown.items() if value is not None}, 201)


def put_snapshot_block(call: Call) -> Answer:
    """Write one block, over what was there."""
    params, body = call.params, call.body
    snapshot_id, index = params["SnapshotId"], params["BlockIndex"]
    ebs_access.spend(call, snapshot_id)
    if required(params, "DataLength") != BLOCK_BYTES or len(body) != BLOCK_BYTES:
        raise invalid(_VALUE, f"A block has {BLOCK_BYTES} bytes.")
    if required(params, "ChecksumAlgorithm") != "SHA256":
        raise invalid(_VALUE, "The only checksum algorithm is SHA256.")
    digest = call.body_digest()
    checksum = base64.b64encode(digest).decode()
    if required(params, "Checksum") != checksum:
        raise invalid(_VALUE, "The checksum does not match the data.")
    with call.lock:
        snapshot = ebs_access.writable(call, snapshot_id)
        if index >= snapshot.volume_size * BLOCKS_PER_GIB:
            raise invalid("INVALID_BLOCK", f"Block {index} is beyond the end of the volume.")
    block = STORE.put(body, digest)
    with call.lock:
        snapshot = ebs_access.writable(call, snapshot_id)
        _note(snapshot, index, params.get("Progress"))
        snapshot.contents.put(index, block)
    headers = [("x-amz-Checksum", checksum), ("x-amz-Checksum-Algorithm", "SHA256")]
    return Answer(201, b"{}", [("Content-Type", "application/json"), *headers])


def complete_snapshot(call: Call) -> Answer:
    """Seal a snapshot: it takes no more blocks and will be completed in its time."""
    ebs_access.spend(call)
    with call.lock:
        snapshot = ebs_access.writable(call, call.params["SnapshotId"])
        upload = _upload(snapshot)
        _check_whole(call, snapshot, upload)
        upload.sealed = True
        snapshot.life = Life(
            snapshot.life.started_at, clock.now() + timedelta(seconds=call.config.pending)
        )
    return json_answer({"Status": "pending"}, 202)


def _start(call: Call) -> Snapshot:
    size, minutes = required(call.params, "VolumeSize"), call.get("Timeout", _USUAL_MINUTES)
    if not 1 <= size <= _MOST_GIB:
        raise invalid("INVALID_VOLUME_SIZE", f"A volume has 1 to {_MOST_GIB} GiB.")
    if minutes not in _MINUTES:
        raise invalid(_VALUE, "Timeout is 10 to 4320 minutes.")
    tags = _tags(call)
    parent_id = call.get("ParentSnapshotId")
    parent = _parent(call, parent_id, size) if parent_id else None
    encryption = _encryption(call, parent)
    _check_quotas(call)
    ec2 = ec2_state.backend(call.account, call.region)
    snapshot = ec2_snapshots.make(
        ec2,
        call,
        tags,
        volume_id=_NO_VOLUME,
        volume_size=size,
        description=call.get("Description", ""),
        encryption=encryption,
        contents=parent.contents.fork() if parent else Contents(),
        origins=frozenset((parent.id,)) if parent else frozenset(),
        upload=Upload(timeout_minutes=minutes, parent_id=parent_id),
    )
    snapshot.lineage = parent.lineage if parent else snapshot.id
    snapshot.life = Life.of(minutes * 60)
    _remember(call, snapshot)
    return snapshot


def _tags(call: Call) -> dict[str, str]:
    ec2 = ec2_state.backend(call.account, call.region)
    try:
        tags = ec2_tags.checked(call.get("Tags") or [])
        ec2_tags.check_count(ec2, "", tags)
    except AwsError as failure:
        raise invalid("INVALID_TAG", failure.message) from failure
    return tags


def _parent(call: Call, parent_id: str, size: int) -> Snapshot:
    parent = ebs_access.readable(call, parent_id)
    if parent.owner_id != call.account:
        raise ebs_errors.denied(f"The snapshot '{parent_id}' belongs to another account.")
    if size < parent.volume_size:
        raise invalid("INVALID_VOLUME_SIZE", "The volume is smaller than the parent snapshot's.")
    return parent


def _encryption(call: Call, parent: Snapshot | None) -> Encryption:
    ec2 = ec2_state.backend(call.account, call.region)
    encrypted, key = call.get("Encrypted"), call.get("KmsKeyArn")
    if parent is not None:
        if encrypted is not None or key is not None:
            raise invalid(_VALUE, "With a parent, neither Encrypted nor KmsKeyArn is given.")
        if ec2.ebs_encryption_by_default and not parent.encryption.encrypted:
            raise invalid(_VALUE, "Encryption by default is on; the parent is not encrypted.")
        return parent.encryption
    if key is not None and not encrypted:
        raise invalid(_VALUE, "KmsKeyArn needs Encrypted.")
    if key is not None:
        ebs_access.check_key(call, key, "GenerateDataKey")
        return Encryption(key)
    if encrypted or ec2.ebs_encryption_by_default:
        return Encryption(ec2_encryption.default_key(ec2))
    return PLAIN


def _check_quotas(call: Call) -> None:
    limits = call.config.limits
    snapshots = ec2_snapshots.table(ec2_state.backend(call.account, call.region)).values()
    if limits.snapshots_per_region is not None and len(snapshots) >= limits.snapshots_per_region:
        raise ebs_errors.too_many_snapshots(limits.snapshots_per_region)
    if limits.direct_pending is None:
        return
    started = [item for item in snapshots if item.upload is not None]
    pending = sum(item.settle(call.config) is State.PENDING for item in started)
    if pending >= limits.direct_pending:
        raise ebs_errors.too_many_pending(limits.direct_pending)


def _memories(call: Call) -> dict[str, tuple[str, str]]:
    return ec2_state.table(ec2_state.backend(call.account, call.region), "direct_tokens")


def _earlier(call: Call) -> Snapshot | None:
    token = call.get("ClientToken")
    known = _memories(call).get(token) if token else None
    if known is None or token is None:
        return None
    snapshot_id, parameters = known
    if parameters != _parameters(call.params):
        raise ebs_errors.conflict(token)
    return ebs_access.find(call, snapshot_id)


def _remember(call: Call, snapshot: Snapshot) -> None:
    token = call.get("ClientToken")
    if token:
        _memories(call)[token] = (snapshot.id, _parameters(call.params))


def _parameters(params: Mapping[str, Any]) -> str:
    return repr(sorted((key, value) for key, value in params.items() if key != "ClientToken"))


def _upload(snapshot: Snapshot) -> Upload:
    if snapshot.upload is None:
        raise invalid("INVALID_SNAPSHOT_ID", f"'{snapshot.id}' was not started by StartSnapshot.")
    return snapshot.upload


def _note(snapshot: Snapshot, index: int, progress: int | None) -> None:
    upload = _upload(snapshot)
    upload.written.add(index)
    if progress is not None:
        upload.progress_percent = min(progress, 100)
    snapshot.life.ends_at = clock.now() + timedelta(minutes=upload.timeout_minutes)


def _check_whole(call: Call, snapshot: Snapshot, upload: Upload) -> None:
    if required(call.params, "ChangedBlocksCount") != len(upload.written):
        raise invalid(_VALUE, f"{len(upload.written)} blocks were written, not as many as told.")
    checksum = call.get("Checksum")
    if checksum is None:
        return
    if call.get("ChecksumAlgorithm") != "SHA256":
        raise invalid(_VALUE, "The only checksum algorithm is SHA256.")
    if call.get("ChecksumAggregationMethod") != "LINEAR":
        raise invalid(_VALUE, "The only aggregation method is LINEAR.")
    digest = hashlib.sha256()
    for index in sorted(upload.written):
        block = snapshot.contents.get(index)
        digest.update(block.digest if block else b"")
    if base64.b64encode(digest.digest()).decode() != checksum:
        raise invalid(_VALUE, "The checksum does not match the blocks that were written.")
