"""Snapshots are copied from the emulated EBS into the emulated S3 and back, bit by bit."""

import hashlib

import pytest

from cpm.archive import repository
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.errors import LineageBroken
from cpm.archive.pages import PAGE_BLOCKS
from cpm.archive.s3 import S3Store
from cpm.archive.source import EbsSource
from cpm.aws.sessions import Aws
from cpm.simulator.process import Simulator
from tests.archive.cloud import Mover, Volume
from tests.archive.volumes import came_back, noise, text

ZEROS = bytes(BLOCK_BYTES)
ZEROS_DIGEST = hashlib.sha256(ZEROS).hexdigest()


@pytest.fixture(params=[None, "correct horse"], ids=["plain", "encrypted"])
def mover(request: pytest.FixtureRequest, s3: S3Store, aws: Aws) -> Mover:
    """One that copies into a repository of each kind."""
    return Mover(repository.create(s3, passphrase=request.param), aws)


def written(simulator: Simulator, holder: str) -> dict[int, str]:
    """The digests of all blocks that are not zeros."""
    found = simulator.blocks(holder)
    return {block: digest for block, digest in found.items() if digest != ZEROS_DIGEST}


def test_every_kind_of_block_comes_back_into_ebs(
    mover: Mover, aws: Aws, simulator: Simulator
) -> None:
    volume = Volume.new(aws, simulator, 3)
    volume.write({0: noise(0), 1: text(1), 2: ZEROS, 7: noise(0), PAGE_BLOCKS: noise(3)})
    snapshot = volume.snapshot()
    manifest = mover.full(snapshot, 3)
    assert mover.progress.blocks == 5
    restored = mover.restore(manifest)
    assert written(simulator, restored) == written(simulator, snapshot)
    assert came_back(mover.repository, manifest).keys() == {0, 1, 7, PAGE_BLOCKS}


def test_twenty_increments_come_back_each_as_it_was(
    mover: Mover, aws: Aws, simulator: Simulator
) -> None:
    volume = Volume.new(aws, simulator)
    volume.write({block: text(block) for block in range(0, 40, 2)})
    snapshots = [volume.snapshot()]
    made = [mover.full(snapshots[0])]
    for turn in range(20):
        if turn == 10:
            volume.grow(3)
        volume.write({turn: noise(turn), 2 * turn: None, 2000 + 150 * (turn // 10) * turn: text(1)})
        snapshots.append(volume.snapshot())
        made.append(mover.increment(snapshots[-1], snapshots[-2], made[-1], volume.size_gib))
    for manifest, snapshot in list(zip(made, snapshots, strict=True))[::5]:
        assert written(simulator, mover.restore(manifest)) == written(simulator, snapshot)


def test_a_snapshot_that_is_gone_or_strange_cannot_be_gone_on_from(
    aws: Aws, simulator: Simulator
) -> None:
    volume, other = Volume.new(aws, simulator), Volume.new(aws, simulator)
    for each in (volume, other):
        each.write({0: text(0)})
    gone, strange, snapshot = volume.snapshot(), other.snapshot(), volume.snapshot()
    aws.call("ec2", "DeleteSnapshot", SnapshotId=gone)
    for since in (gone, strange):
        with pytest.raises(LineageBroken, match=since):
            list(EbsSource(aws, snapshot, since).blocks(0, 2048))
