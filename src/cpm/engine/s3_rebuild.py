"""Records made again from the manifests of an archive, for a server that has lost its database.

A record that was made so belongs to no policy: it keeps the policy's name, and its copies stay
until somebody deletes them. Of its snapshots in AWS nothing is known.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F

from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.errors import Damaged, NotFound
from cpm.archive.manifests import Manifest
from cpm.archive.repository import Repository
from cpm.engine import events, repositories
from cpm.engine.deleted import archives
from cpm.kernel import times
from cpm.models.accounts import Account
from cpm.models.backups import (
    Backup,
    BackupOutcome,
    BackupPhase,
    BackupTarget,
    CopyOutcome,
    CopyStatus,
    Trigger,
)
from cpm.models.repositories import S3Repository
from cpm.models.s3_copies import S3Copy, S3CopyPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus

# For archives whose manifests say nothing of records: one that is the same each time.
_RECORDS = uuid.UUID("6f0c2a9e-54f1-4a0e-9a34-7b8f0d1c2e35")
_KIND = "ebs_volume"
_UNKNOWN = "unknown"

Json = dict[str, Any]


@dataclass
class Rebuilt:
    """What was made, and what could not be read."""

    copies: int = 0
    backups: int = 0
    known: int = 0
    damaged: list[str] = field(default_factory=list)


def rebuild(repository: S3Repository, progress: Callable[[Rebuilt], None]) -> Rebuilt:
    """Make a record for every copy that none knows. May be repeated; raises `ArchiveError`, Fault.

    `progress` is called after each copy.
    """
    rebuilt = Rebuilt()
    for manifest in _manifests(repositories.open_archive(repository), rebuilt):
        _record(repository, manifest, rebuilt)
        progress(rebuilt)
    return rebuilt


def _manifests(opened: Repository, rebuilt: Rebuilt) -> Iterator[Manifest]:
    for name in list(opened.names()):
        try:
            yield opened.manifest(name)
        except NotFound:
            continue
        except Damaged as damage:
            rebuilt.damaged.append(str(damage))


@transaction.atomic
def _record(repository: S3Repository, manifest: Manifest, rebuilt: Rebuilt) -> None:
    # Of two who rebuild at once, each sees what the other has made.
    S3Repository.objects.select_for_update(no_key=True).get(pk=repository.pk)
    if repository.copies.filter(snapshot__aws_ref=manifest.name).exists():
        rebuilt.known += 1
        return
    origin = manifest.origin or {}
    backup = _backup(repository, manifest, origin, rebuilt)
    snapshot = Snapshot.objects.create(**_snapshot(repository, manifest, origin, backup))
    copy = S3Copy.objects.create(**_copy(repository, manifest, snapshot))
    S3Repository.objects.filter(pk=repository.pk).update(
        size_bytes=F("size_bytes") + copy.size_bytes
    )
    events.log(
        "s3_copy_found", backup=backup, snapshot=manifest.name, resource=snapshot.resource_id
    )
    rebuilt.copies += 1


def _backup(repository: S3Repository, manifest: Manifest, origin: Json, rebuilt: Rebuilt) -> Backup:
    run, started_at = _run(manifest, origin), _started_at(manifest, origin)
    finished_at = times.parse(manifest.created_at)
    account = _account(repository, origin)
    backup, is_new = Backup.objects.get_or_create(
        user=repository.user,
        run=run,
        started_at=started_at,
        defaults={
            "account": account,
            "account_name": origin.get("account") or (account.name if account else _UNKNOWN),
            "policy_name": origin.get("policy") or _UNKNOWN,
            "trigger": Trigger.MANUAL,
            "phase": BackupPhase.CLOSED,
            "outcome": BackupOutcome.DELETED,
            "finished_at": finished_at,
            "s3_status": CopyStatus.SUCCEEDED,
            "s3_finished_at": finished_at,
            "s3_repository": repository,
        },
    )
    rebuilt.backups += is_new
    return backup


def _run(manifest: Manifest, origin: Json) -> uuid.UUID:
    try:
        return uuid.UUID(str(origin.get("run")))
    except ValueError:
        return uuid.uuid5(_RECORDS, f"{manifest.repository} {manifest.name}")


def _started_at(manifest: Manifest, origin: Json) -> datetime:
    told = origin.get("backup_started_at") or manifest.snapshot.get("StartTime")
    return times.parse(told or manifest.created_at)


def _account(repository: S3Repository, origin: Json) -> Account | None:
    """The account that was protected, if the server has it again."""
    number = origin.get("account_number")
    own = Account.objects.filter(user=repository.user, is_dr_account=False)
    return own.filter(aws_account_number=number).order_by("pk").first() if number else None


def _snapshot(repository: S3Repository, manifest: Manifest, origin: Json, backup: Backup) -> Json:
    volume, instance = manifest.volume, manifest.instance or {}
    return {
        "backup": backup,
        "target": _target(backup, origin.get("target")),
        "kind": origin.get("kind") or _KIND,
        "collection": archives()[0],
        "account": repository.account,
        "account_name": repository.account.name,
        "region": repository.aws_region,
        "resource_id": volume.get("id") or _UNKNOWN,
        "resource_name": origin.get("resource_name"),
        "instance_id": origin.get("instance_id") or instance.get("id"),
        "volume_device": origin.get("device") or instance.get("device"),
        "facts": origin.get("facts") or {},
        "aws_ref": manifest.name,
        "status": SnapshotStatus.SUCCEEDED,
        "progress_percent": 100,
        "size_gib": volume["size_gib"],
        "encrypted": origin.get("encrypted"),
        "started_at": _started_at(manifest, origin),
        "finished_at": times.parse(manifest.created_at),
    }


def _target(backup: Backup, told: Json | None) -> BackupTarget | None:
    if told is None:
        return None
    target, _ = BackupTarget.objects.get_or_create(
        backup=backup,
        kind=told["kind"],
        resource_id=told["resource_id"],
        region=told["region"],
        defaults={
            "resource_name": told.get("resource_name"),
            "options": told.get("options") or {},
            "facts": told.get("facts") or {},
            "planned_at": backup.started_at,
        },
    )
    return target


def _copy(repository: S3Repository, manifest: Manifest, snapshot: Snapshot) -> Json:
    taken = manifest.snapshot.get("StartTime")
    return {
        "backup": snapshot.backup,
        "original_ref": manifest.snapshot["id"],
        "original_region": manifest.snapshot.get("region") or "",
        "taken_at": times.parse(taken) if taken else None,
        "snapshot": snapshot,
        "repository": repository,
        "storage_class": "STANDARD",
        "based_on": manifest.based_on or "",
        "phase": S3CopyPhase.CLOSED,
        "outcome": CopyOutcome.SUCCEEDED,
        "size_bytes": manifest.blocks * BLOCK_BYTES,
    }
