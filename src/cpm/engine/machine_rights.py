"""What the keys that a worker machine is lent open: what one copy needs, and nothing else."""

from collections.abc import Iterable
from typing import Any

from cpm.archive import source
from cpm.models.s3_copies import S3Copy

# Manifests that are on their way out may still be gone on from.
_READ = ("manifests", "packs", "retired")
_VERSION = "2012-10-17"


def to_read(copy: S3Copy, partition: str) -> dict[str, Any]:
    """To read the blocks of the copy's original, and what AWS compares it with."""
    refs = [ref for ref in (copy.original_ref, copy.compared_with) if ref]
    snapshots = [f"arn:{partition}:ec2:{copy.original_region}::snapshot/{ref}" for ref in refs]
    # Which key encrypts a snapshot is AWS's affair; whom it trusts, the account's.
    return _policy(_allow(source.PERMISSIONS, snapshots), _allow(["kms:Decrypt"], ["*"]))


def to_write(copy: S3Copy, partition: str) -> dict[str, Any]:
    """To read manifests and packs of the copy's repository, and to put packs; no more.

    Manifests, which make packs a copy, are put by the server.
    """
    repository = copy.repository
    prefix = f"{repository.prefix}/" if repository.prefix else ""
    below = f"arn:{partition}:s3:::{repository.bucket_name}/{prefix}"
    by_s3 = {"StringLike": {"kms:ViaService": "s3.*"}}
    return _policy(
        _allow(["s3:GetObject"], [f"{below}{each}/*" for each in _READ]),
        _allow(["s3:PutObject"], [f"{below}packs/*"]),
        {**_allow(["kms:Decrypt", "kms:GenerateDataKey"], ["*"]), "Condition": by_s3},
    )


def _allow(actions: Iterable[str], resources: Iterable[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": _VERSION, "Statement": list(statements)}
