"""What the manifests of this server say of a snapshot, beside where its blocks are."""

from cpm.archive import manifests
from cpm.archive.manifests import Manifest
from cpm.archive.writer import Subject
from cpm.engine import identity
from cpm.kernel import times
from cpm.models.accounts import Account
from cpm.models.backups import BackupTarget
from cpm.models.s3_copies import S3Copy
from cpm.resources import registry
from cpm.resources.contract import Json


def name_of(copy: S3Copy) -> str:
    """The name of the manifest of a copy that has begun."""
    if copy.began_at is None:
        raise LookupError(f"{copy} has not begun")
    return manifests.new_name(copy.original_ref, copy.began_at)


def subject_of(copy: S3Copy) -> Subject:
    """What is archived, in AWS's words, and for which record of which server."""
    row = copy.snapshot
    taken = {"StartTime": times.to_wire(copy.taken_at)} if copy.taken_at else {}
    return Subject(
        snapshot={"id": copy.original_ref, "region": copy.original_region, **taken},
        volume={
            **_in_aws_words(row.kind, row.facts),
            "id": row.resource_id,
            "size_gib": row.size_gib,
        },
        instance=_instance(copy),
        origin=_origin(copy),
    )


def is_of(manifest: Manifest, copy: S3Copy) -> bool:
    """Whether it is this copy's own."""
    origin = manifest.origin or {}
    return (origin.get("server"), origin.get("copy")) == (identity.server_id(), copy.pk)


def _instance(copy: S3Copy) -> Json | None:
    row, target = copy.snapshot, copy.snapshot.target
    if row.instance_id is None:
        return None
    is_known = target is not None and target.resource_id == row.instance_id
    described = _in_aws_words(target.kind, target.facts) if target and is_known else {}
    return {**described, "id": row.instance_id, "device": row.volume_device}


def _in_aws_words(kind: str, facts: Json) -> Json:
    words = registry.driver(kind).in_aws_words
    return words(facts) if words is not None else {}


def _origin(copy: S3Copy) -> Json:
    row, backup = copy.snapshot, copy.snapshot.backup
    return {
        "server": identity.server_id(),
        "copy": copy.pk,
        "backup": backup.pk,
        "run": str(backup.run),
        "backup_started_at": times.to_wire(backup.started_at),
        "policy": backup.policy_name,
        "account": backup.account_name,
        "account_number": _number(copy.original.account if copy.original else None),
        "region": copy.original_region,
        "kind": row.kind,
        "resource_id": row.resource_id,
        "resource_name": row.resource_name,
        "instance_id": row.instance_id,
        "device": row.volume_device,
        "encrypted": row.encrypted,
        "facts": row.facts,
        "target": _target(row.target),
    }


def _number(account: Account | None) -> str:
    return account.aws_account_number or account.account_number if account is not None else ""


def _target(target: BackupTarget | None) -> Json | None:
    if target is None:
        return None
    return {
        "kind": target.kind,
        "resource_id": target.resource_id,
        "resource_name": target.resource_name,
        "region": target.region,
        "options": target.options,
        "facts": target.facts,
    }
