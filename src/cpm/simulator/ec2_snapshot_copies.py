"""Snapshots are copied between regions and accounts, as many at a time as AWS allows."""

import hashlib
from collections.abc import Mapping
from typing import Any

from cpm.simulator import (
    ec2_encryption,
    ec2_quotas,
    ec2_snapshots,
    ec2_state,
    ec2_tags,
    kms_keys,
)
from cpm.simulator.calls import Call, Handlers
from cpm.simulator.ec2_encryption import Encryption
from cpm.simulator.ec2_errors import incorrect_state
from cpm.simulator.ec2_snapshots import Snapshot
from cpm.simulator.lives import State

# AWS gives copies this volume id; it means nothing.
NO_VOLUME = "vol-ffffffff"


def install(handlers: Handlers) -> None:
    """Take over CopySnapshot."""
    handlers.add("ec2", {"CopySnapshot": copy_snapshot})


def copy_snapshot(call: Call) -> Mapping[str, Any]:
    """Copy a snapshot that the caller owns or was given to the region that is called."""
    tags = ec2_tags.specified(call, "snapshot")["snapshot"]
    source = ec2_snapshots.usable(
        call, call.params["SourceRegion"], call.params["SourceSnapshotId"]
    )
    if source.life.state is not State.DONE:
        raise incorrect_state(
            f"Snapshot is in invalid state - {source.status}. Only completed snapshots are copied."
        )
    ec2_quotas.check_new_copy(call)
    copy = make_copy(call, source, tags, call.get("Description", ""))
    ec2_quotas.note_copy(copy)
    return {"SnapshotId": copy.id, "Tags": ec2_tags.shown(copy.ec2_backend, copy.id)}


def make_copy(
    call: Call, source: Snapshot, tags: Mapping[str, str], description: str, *origins: str
) -> Snapshot:
    """A pending copy of `source` in the caller's account and region; `origins` as in snapshots.

    An encrypted one is encrypted anew: with the key that is named, or with the region's default.
    AWS looks at the keys only while it copies: a key that the caller may not use lets the copy
    fail, not the call.
    """
    ec2 = ec2_state.backend(call.account, call.region)
    encrypted = bool(call.get("Encrypted") or source.encryption.encrypted)
    encryption = ec2_encryption.requested(
        ec2, encrypted, call.get("KmsKeyId"), ec2_encryption.PLAIN
    )
    return ec2_snapshots.make(
        ec2,
        call,
        tags,
        volume_id=NO_VOLUME,
        volume_size=source.volume_size,
        description=description,
        encryption=encryption,
        contents=source.contents.fork(),
        lineage=_lineage(call, source, encryption),
        trouble=_key_trouble(call, source, encryption),
        origins=frozenset((source.id, *origins)),
    )


def _lineage(call: Call, source: Snapshot, encryption: Encryption) -> str:
    # Copies of one lineage to one place with one key are incremental to each other, and to
    # nothing else.
    place = (source.lineage, call.account, call.region, encryption.kms_key_id)
    return hashlib.sha256(repr(place).encode()).hexdigest()


def _key_trouble(call: Call, source: Snapshot, target: Encryption) -> str:
    read, write = source.encryption.kms_key_id, target.kms_key_id
    readable = read is None or _may_use(call, read, "Decrypt")
    writable = write is None or _may_use(call, write, "GenerateDataKey")
    return "" if readable and writable else "Given key ID is not accessible"


def _may_use(call: Call, arn: str, operation: str) -> bool:
    key = kms_keys.find(call.account, call.region, arn)
    return key is not None and kms_keys.may_use(call.caller, key, operation)
