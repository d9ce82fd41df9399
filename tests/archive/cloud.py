"""Volumes in the emulated EBS, copied and put back as the server does it, without its database."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cpm.archive import target, writer
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.copying import Limits, Progress, copy_range
from cpm.archive.known import Former
from cpm.archive.manifests import Manifest, PagePlace
from cpm.archive.pages import PAGE_BLOCKS
from cpm.archive.repository import Repository
from cpm.archive.source import EbsSource
from cpm.archive.writer import Checkpoint, Subject
from cpm.aws.sessions import Aws
from cpm.simulator.process import Simulator

# Small enough that a copy of a few blocks makes several packs.
SMALL = Limits(memory_bytes=64 * 2**20, connections=3, pack_bytes=2 * BLOCK_BYTES, level=1)


@dataclass
class Volume:
    """A volume of the emulated EBS."""

    aws: Aws
    simulator: Simulator
    id: str
    size_gib: int

    @classmethod
    def new(cls, aws: Aws, simulator: Simulator, size_gib: int = 1) -> "Volume":
        """An empty one."""
        zone = f"{aws.region}a"
        made = aws.call("ec2", "CreateVolume", AvailabilityZone=zone, Size=size_gib)
        return cls(aws, simulator, made["VolumeId"], size_gib)

    def write(self, blocks: Mapping[int, bytes | None]) -> None:
        """Write blocks; None lets one be as if it had never been written."""
        for block, content in blocks.items():
            if content is None:
                erased = {"pattern": "erase", "start": block, "count": 1}
                self.simulator.fill(self.id, erased)
            else:
                self.simulator.write_blocks(self.id, block, content)

    def grow(self, size_gib: int) -> None:
        """Make it larger."""
        self.aws.call("ec2", "ModifyVolume", VolumeId=self.id, Size=size_gib)
        self.size_gib = size_gib

    def snapshot(self) -> str:
        """Take a snapshot; its id."""
        made = self.aws.call("ec2", "CreateSnapshot", VolumeId=self.id)["SnapshotId"]
        self.simulator.finish(made)
        self.aws.call("ec2", "DescribeSnapshots", SnapshotIds=[made])
        return str(made)


@dataclass
class Mover:
    """Copies snapshots into a repository, and puts copies back into EBS."""

    repository: Repository
    aws: Aws
    limits: Limits = SMALL
    now: datetime = field(default_factory=lambda: datetime(2026, 11, 29, 6, 45, tzinfo=UTC))
    checkpoints: list[Checkpoint] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    def full(self, snapshot: str, size_gib: int = 1, former: Manifest | None = None) -> Manifest:
        """Copy all of a snapshot, naming what a former copy of the volume has."""
        known = Former(self.repository, former) if former else None
        self.progress, self.checkpoints = Progress(), []
        for pages in ranges(size_gib):
            copied = copy_range(
                self.repository,
                EbsSource(self.aws, snapshot),
                pages,
                tell=self.checkpoints.append,
                known=known,
                limits=self.limits,
                progress=self.progress,
            )
            assert copied
        return self.publish(snapshot, size_gib, None)

    def increment(self, snapshot: str, since: str, base: Manifest, size_gib: int = 1) -> Manifest:
        """Copy what has changed since an earlier snapshot, of which `base` is the copy."""
        self.progress, self.checkpoints = Progress(), []
        for pages in ranges(size_gib):
            copied = copy_range(
                self.repository,
                EbsSource(self.aws, snapshot, since),
                pages,
                tell=self.checkpoints.append,
                base={each.page: each for each in base.pages},
                limits=self.limits,
                progress=self.progress,
            )
            assert copied
        return self.publish(snapshot, size_gib, base)

    def publish(self, snapshot: str, size_gib: int, base: Manifest | None) -> Manifest:
        """Put the manifest of what the checkpoints tell."""
        self.now += timedelta(seconds=1)
        about = Subject(snapshot={"id": snapshot}, volume={"id": "vol-1", "size_gib": size_gib})
        return writer.publish(self.repository, about, self.now, told(self.checkpoints), base)

    def restore(self, manifest: Manifest, *, lost: Iterable[str] = ()) -> str:
        """Make a snapshot of a copy; its id."""
        size_gib = manifest.volume["size_gib"]
        wanted = target.Wanted(token=str(uuid.uuid4()), volume_gib=size_gib, tags={"Name": "back"})
        snapshot = target.start(self.aws, wanted)
        for pages in ranges(size_gib):
            restored = target.restore_range(
                self.repository, manifest, self.aws, snapshot, pages, limits=self.limits
            )
            assert restored.is_finished
            assert {each.what for each in restored.damages} <= set(lost)
        self.complete(manifest, snapshot, lost=lost)
        return snapshot

    def complete(self, manifest: Manifest, snapshot: str, *, lost: Iterable[str] = ()) -> None:
        """Seal a snapshot into which the copy was put, but for what is lost."""
        put = target.totals(self.repository, manifest, lost=set(lost))
        target.complete(self.aws, snapshot, put)


def told(checkpoints: Iterable[Checkpoint]) -> dict[int, PagePlace | None]:
    """What checkpoints say of pages, all together."""
    return {page: place for each in checkpoints for page, place in each.pages.items()}


def ranges(size_gib: int) -> list[range]:
    """A volume's pages, each a range of its own."""
    count = -(-size_gib * 2**30 // (PAGE_BLOCKS * BLOCK_BYTES))
    return [range(page, page + 1) for page in range(count)]
