"""Policies that copy to S3, and what is in the bucket then, past the server."""

import itertools
from dataclasses import dataclass
from typing import Any

from cpm.archive import reader
from cpm.archive import repository as archive
from cpm.archive.blobs import BLOCK_BYTES
from cpm.engine import repositories
from cpm.models.backups import Backup
from cpm.models.policies import Policy, Target
from cpm.models.repositories import S3Repository
from cpm.models.snapshots import Snapshot
from tests.engine.world import REGION, World, volume_target

LIST, CHANGED, GET = "ebs:ListSnapshotBlocks", "ebs:ListChangedBlocks", "ebs:GetSnapshotBlock"
SSE_S3: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}

_names = itertools.count(1)


@dataclass
class Vault:
    """A repository, and its bucket."""

    world: World
    row: S3Repository

    @classmethod
    def of(cls, world: World, **columns: Any) -> "Vault":
        """A new one, not yet used."""
        bucket = f"archive-{world.account.aws_account_number}-{next(_names)}"
        s3 = world.client("s3")
        s3.create_bucket(Bucket=bucket, **columns.pop("bucket", {}))
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=SSE_S3)
        row = S3Repository.objects.create(
            user=world.user,
            account=world.account,
            name=f"vault-{next(_names)}",
            bucket_name=bucket,
            prefix="cpm",
            **columns,
        )
        return cls(world, row)

    def keys(self, beginning: str = "") -> list[str]:
        """The names of its objects."""
        pages = self.world.client("s3").get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.row.bucket_name, Prefix=f"cpm/{beginning}")
        return [
            each["Key"].removeprefix("cpm/") for page in found for each in page.get("Contents", ())
        ]

    def manifests(self) -> list[str]:
        """What is archived in it."""
        return [key.removeprefix("manifests/") for key in self.keys("manifests/")]

    def storage_classes(self) -> dict[str, str]:
        """Where S3 keeps its manifests and packs."""
        listed = self.world.client("s3").list_objects_v2(Bucket=self.row.bucket_name)["Contents"]
        found = {each["Key"].split("/")[1]: each["StorageClass"] for each in listed}
        return {name: found[name] for name in ("manifests", "packs")}

    def opened(self) -> archive.Repository:
        """The archive, as a reader has it."""
        self.row.refresh_from_db()
        return repositories.open_archive(self.row)

    def blocks(self, copy: Snapshot) -> dict[int, bytes]:
        """What is archived of a snapshot, every block verified."""
        opened = self.opened()
        manifest = opened.manifest(copy.aws_ref)
        return dict(reader.blocks(opened, manifest, lose=_raise))


def _raise(damage: Exception) -> None:
    raise damage


def s3_policy(vault: Vault, *targets: Target, **columns: Any) -> Policy:
    """A policy whose snapshots are copied to the repository."""
    columns = {"s3_enabled": True, "s3_repository": vault.row, **columns}
    world = vault.world
    return world.policy(*(targets or [volume_target(volume(world))]), **columns)


def volume(world: World, size_gib: int = 1, *, blocks: int = 4, seed: int = 1) -> str:
    """A small volume that has something in it."""
    made = world.ec2().create_volume(AvailabilityZone=f"{REGION}a", Size=size_gib)["VolumeId"]
    if blocks:
        write(world, made, count=blocks, seed=seed)
    return str(made)


def write(world: World, volume_id: str, start: int = 0, count: int = 1, seed: int = 1) -> None:
    """Write blocks of text, which differ from each other."""
    fill = {"pattern": "text", "start": start, "count": count, "seed": seed}
    world.simulator.fill(volume_id, fill)


def in_ebs(world: World, ref: str, size_gib: int = 1) -> dict[int, bytes]:
    """The blocks of a snapshot in AWS, but for zeros."""
    found = {}
    for block in world.simulator.blocks(ref):
        content = world.simulator.read_blocks(ref, block)
        if content != bytes(BLOCK_BYTES):
            found[block] = content
    assert all(block < size_gib * 2048 for block in found)
    return found


def copies_of(backup: Backup) -> list[Snapshot]:
    """The rows of a record's copies in S3."""
    return list(Snapshot.objects.filter(backup=backup, collection="copy_to_s3").order_by("pk"))


def calls(world: World, *operations: str) -> list[int]:
    """How often AWS was asked for these since counting began."""
    counts = world.simulator.counts()
    return [counts.get(each, 0) for each in operations]
