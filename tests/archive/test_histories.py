"""Any history of a volume, its snapshots and their copies: what can be restored is what was."""

import hashlib
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from cpm.archive import repository, writer
from cpm.archive.blobs import BLOCK_BYTES
from cpm.archive.collector import collect
from cpm.archive.errors import LineageBroken
from cpm.archive.manifests import Manifest
from cpm.aws.sessions import Aws
from cpm.simulator.process import Simulator
from tests.archive.cloud import Mover, Volume
from tests.archive.volumes import Bucket, came_back, noise, text

BLOCKS = st.sampled_from([0, 1, 2, 2047])
CONTENTS = {"text": text(0), "noise": noise(0), "other": noise(1), "zeros": bytes(BLOCK_BYTES)}

# What a copy holds, as digests by block.
Held = dict[int, str]


class Histories(RuleBasedStateMachine):
    """One volume of the emulated EBS, copied into a bucket whose clock moves."""

    aws: Aws
    simulator: Simulator

    @initialize()
    def begin(self) -> None:
        self.bucket = Bucket()
        self.mover = Mover(repository.create(self.bucket), self.aws)
        self.mover.now = self.bucket.time
        self.volume = Volume.new(self.aws, self.simulator)
        self.now: Held = {}
        self.snapshots: dict[str, Held] = {}
        # What was archived: the copy, the snapshot it is of, what that held.
        self.copies: list[tuple[Manifest, str, Held]] = []

    @rule(block=BLOCKS, content=st.sampled_from(sorted(CONTENTS)))
    def write(self, block: int, content: str) -> None:
        self.volume.write({block: CONTENTS[content]})
        self.now.pop(block, None)
        if content != "zeros":
            self.now[block] = hashlib.sha256(CONTENTS[content]).hexdigest()

    @rule(block=BLOCKS)
    def erase(self, block: int) -> None:
        self.volume.write({block: None})
        self.now.pop(block, None)

    @rule()
    def snapshot(self) -> None:
        self.snapshots[self.volume.snapshot()] = dict(self.now)

    @precondition(lambda self: self.snapshots)
    @rule(is_incremental=st.booleans())
    def copy(self, is_incremental: bool) -> None:
        snapshot, held = list(self.snapshots.items())[-1]
        before = self.copies[-1] if self.copies else None
        base = before[0] if before else None
        self.copies.append((self._copied(snapshot, base, is_incremental, before), snapshot, held))

    def _copied(
        self,
        snapshot: str,
        base: Manifest | None,
        is_incremental: bool,
        before: tuple[Manifest, str, Held] | None,
    ) -> Manifest:
        if base and before and is_incremental:
            try:
                return self.mover.increment(snapshot, before[1], base)
            except LineageBroken:
                assert before[1] not in self.snapshots
        return self.mover.full(snapshot, former=base)

    @precondition(lambda self: len(self.snapshots) > 1)
    @rule()
    def delete_in_aws(self) -> None:
        oldest = next(iter(self.snapshots))
        self.aws.call("ec2", "DeleteSnapshot", SnapshotId=oldest)
        del self.snapshots[oldest]

    @precondition(lambda self: self.copies)
    @rule(choice=st.integers(0, 5))
    def retire(self, choice: int) -> None:
        manifest, _, _ = self.copies.pop(choice % len(self.copies))
        writer.retire(self.mover.repository, manifest.name)

    @rule(days=st.sampled_from([1, 8]))
    def collect_after(self, days: int) -> None:
        self.bucket.time += timedelta(days=days)
        self.mover.now = max(self.mover.now, self.bucket.time)
        with TemporaryDirectory() as scratch:
            collect(self.mover.repository, Path(scratch))

    @precondition(lambda self: self.copies)
    @rule(choice=st.integers(0, 5))
    def restore(self, choice: int) -> None:
        manifest, _, held = self.copies[choice % len(self.copies)]
        assert self.simulator.blocks(self.mover.restore(manifest)) == held

    def teardown(self) -> None:
        for manifest, _, held in self.copies:
            found = came_back(self.mover.repository, manifest)
            assert {at: hashlib.sha256(each).hexdigest() for at, each in found.items()} == held


def test_what_can_be_restored_is_what_was(aws: Aws, simulator: Simulator) -> None:
    Histories.aws, Histories.simulator = aws, simulator
    run = Histories.TestCase
    run.settings = settings(
        max_examples=12,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run("runTest").runTest()
