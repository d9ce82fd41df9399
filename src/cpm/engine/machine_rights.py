"""What the keys that a worker machine is lent open: what one range needs, and nothing else."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cpm.archive import source
from cpm.models.accounts import Account
from cpm.models.repositories import S3Repository
from cpm.models.s3_copies import S3Copy

# Manifests that are on their way out may still be gone on from.
_READ = ("manifests", "packs", "retired")
_PUT_BLOCKS = ("ebs:PutSnapshotBlock",)
_VERSION = "2012-10-17"

Json = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """Into an account and a region, with no more than a policy allows; that of a partition."""

    account: Account | None
    region: str
    policy: Callable[[str], Json]


def to_read(copy: S3Copy) -> Callable[[str], Json]:
    """To read the blocks of the copy's original, and what AWS compares it with."""
    refs = [ref for ref in (copy.original_ref, copy.compared_with) if ref]
    return lambda partition: _of_snapshots(
        source.PERMISSIONS, partition, copy.original_region, refs, ["kms:Decrypt"]
    )


def to_put(region: str, snapshot_id: str) -> Callable[[str], Json]:
    """To put blocks into a snapshot that was started."""
    uses = ["kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"]
    return lambda partition: _of_snapshots(_PUT_BLOCKS, partition, region, [snapshot_id], uses)


def to_write(repository: S3Repository) -> Callable[[str], Json]:
    """To read manifests and packs of a repository, and to put packs; no more.

    Manifests, which make packs a copy, are put by the server.
    """
    return lambda partition: _of_objects(repository, partition, puts=True)


def to_fetch(repository: S3Repository) -> Callable[[str], Json]:
    """To read manifests and packs of a repository."""
    return lambda partition: _of_objects(repository, partition, puts=False)


def _of_snapshots(
    actions: Iterable[str], partition: str, region: str, refs: Iterable[str], uses: Iterable[str]
) -> Json:
    snapshots = [f"arn:{partition}:ec2:{region}::snapshot/{ref}" for ref in refs]
    # Which key encrypts a snapshot is AWS's affair; whom it trusts, the account's.
    return _policy(_allow(actions, snapshots), _allow(uses, ["*"]))


def _of_objects(repository: S3Repository, partition: str, *, puts: bool) -> Json:
    prefix = f"{repository.prefix}/" if repository.prefix else ""
    below = f"arn:{partition}:s3:::{repository.bucket_name}/{prefix}"
    by_s3 = {"StringLike": {"kms:ViaService": "s3.*"}}
    return _policy(
        _allow(["s3:GetObject"], [f"{below}{each}/*" for each in _READ]),
        *([_allow(["s3:PutObject"], [f"{below}packs/*"])] if puts else []),
        {**_allow(["kms:Decrypt", "kms:GenerateDataKey"], ["*"]), "Condition": by_s3},
    )


def _allow(actions: Iterable[str], resources: Iterable[str]) -> Json:
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _policy(*statements: Json) -> Json:
    return {"Version": _VERSION, "Statement": list(statements)}
