"""Copies in S3 for tests that recover from them: what EBS has, written by hand, and its rows."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from cpm.archive.repository import Repository
from cpm.archive.writer import Subject
from cpm.engine import repositories
from cpm.kernel import clock
from cpm.models.backups import CopyOutcome
from cpm.models.repositories import S3Repository
from cpm.models.s3_copies import S3Copy, S3CopyPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from tests.archive.volumes import Copier
from tests.engine.world import REGION, World
from tests.simulator import blocks as direct


@dataclass
class Archive:
    """A repository, and what is copied into it; `client` is of AWS as its owner sees it."""

    client: Callable[[str, str], Any]
    row: S3Repository

    @cached_property
    def repository(self) -> Repository:
        """The archive itself."""
        return repositories.open_archive(self.row)

    def copies_of(self, backup_id: int) -> dict[str, Snapshot]:
        """Copy all volumes of a backup; the copies by volume."""
        originals = Snapshot.objects.filter(backup=backup_id, collection="volumes").order_by("pk")
        return {each.resource_id: self.copy_of(each) for each in originals}

    def copy_of(self, original: Snapshot) -> Snapshot:
        """Copy one snapshot."""
        about = Subject(
            snapshot={"id": original.aws_ref},
            volume={"id": original.resource_id, "size_gib": original.size_gib},
        )
        blocks = direct.download(self.client("ebs", original.region), original.aws_ref)
        name = Copier(self.repository).copy(blocks, about).name
        return _rows(self.row, original, name)


def archive_in(world: World) -> Archive:
    """A repository in the account of a world."""
    bucket = f"archive-{world.credentials.account}-{S3Repository.objects.count()}"
    world.client("s3").create_bucket(Bucket=bucket)
    row = S3Repository.objects.create(
        user=world.user,
        account=world.account,
        name=bucket,
        bucket_name=bucket,
        prefix="vault",
        aws_region=REGION,
    )
    repositories.establish(row)
    return Archive(world.client, row)


def _rows(repository: S3Repository, original: Snapshot, name: str) -> Snapshot:
    now = clock.now()
    copied = ("backup", "target", "kind", "resource_id", "resource_name", "instance_id")
    also = ("volume_device", "facts", "size_gib")
    snapshot = Snapshot.objects.create(
        **{column: getattr(original, column) for column in (*copied, *also)},
        collection="copy_to_s3",
        source_snapshot=original,
        account=repository.account,
        account_name=repository.account.name,
        region=repository.aws_region,
        aws_ref=name,
        status=SnapshotStatus.SUCCEEDED,
        started_at=now,
        finished_at=now,
    )
    S3Copy.objects.create(
        backup=original.backup,
        original=original,
        original_ref=original.aws_ref,
        original_region=original.region,
        snapshot=snapshot,
        repository=repository,
        storage_class="STANDARD",
        phase=S3CopyPhase.CLOSED,
        outcome=CopyOutcome.SUCCEEDED,
        deadline_at=now + timedelta(hours=1),
    )
    return snapshot
