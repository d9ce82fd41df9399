"""Worker machines restore what is in S3, with keys for that alone, and may be lost meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from cpm.engine import machines
from cpm.kernel import clock
from cpm.models.machines import MachinePhase, WorkerMachine
from cpm.models.recoveries import Recovery, RecoveryOutcome
from cpm.models.s3_restores import S3RestoreRange
from cpm.models.snapshots import Snapshot
from cpm.models.workers import Worker
from tests.engine.archiving import GET, Vault, calls, copies_of, s3_policy, volume, write
from tests.engine.machines.asking import ask, enrolled
from tests.engine.machines.host import Host, Machine
from tests.engine.machines.runs import is_over, machine_phase, run, until, work_until
from tests.engine.test_s3_recoveries import begin
from tests.engine.world import World, open_alerts, volume_target
from tests.simulator import blocks as direct

PUT = "ebs:PutSnapshotBlock"


def test_a_machine_brings_back_what_it_has_copied_with_keys_for_that_alone(
    world: World, vault: Vault, host: Host, boot: Callable[[], Machine]
) -> None:
    source = volume(world, size_gib=3, blocks=4)
    write(world, source, start=4100, count=2, seed=7)
    key = world.client("kms").create_key()["KeyMetadata"]["Arn"]
    backup = run(world, vault, source)
    world.simulator.config(enforce_iam=True)
    try:
        machine = boot()
        work_until(world, lambda: is_over(backup), machine)
        (copy,) = copies_of(backup)
        recovery = begin(world, copy, encrypted=True, kms_key=key)
        work_until(world, lambda: is_closed(recovery), machine)
    finally:
        world.simulator.config(enforce_iam=False)
    assert (recovery.outcome, recovery.error) == (RecoveryOutcome.SUCCEEDED, "")
    (result,) = recovery.result_resource_ids
    assert world.simulator.differing(source, result) == []
    assert calls(world, GET, PUT) == [6, 6]
    assert WorkerMachine.objects.count() == 1
    assert machine.log.count('"kind": "restore"') == 2
    assert not open_alerts()


class TestTold:
    @pytest.fixture
    def copy(self, world: World, vault: Vault, worker: Worker) -> Snapshot:
        """What the server has copied while there were no machines."""
        Worker.objects.update(paused_until=clock.now() + timedelta(hours=1))
        source = volume(world, blocks=6)
        (copy,) = copies_of(world.backup(s3_policy(vault, volume_target(source))))
        Worker.objects.update(paused_until=None)
        return copy

    @pytest.fixture
    def recovery(self, world: World, copy: Snapshot) -> Recovery:
        """One whose blocks a machine is to put, which has been launched."""
        recovery = begin(world, copy)
        until(world, lambda: machine_phase() == MachinePhase.RUNNING)
        return recovery

    def test_what_a_lost_machine_has_put_another_worker_does_not_put_again(
        self, world: World, recovery: Recovery
    ) -> None:
        held, token = claimed(WorkerMachine.objects.get())
        snapshot_id = S3RestoreRange.objects.get().restore.start.refs["snapshot"]
        for block in range(4):
            content = world.simulator.read_blocks(recovery.resource_id, block)
            direct.put(world.client("ebs"), snapshot_id, block, content)
        told = {"progress": {"block": 4}, "blocks": 4, "stored_bytes": 0}
        answer = ask("checkpoint", token, held=held, **told).json()
        assert answer == {"version": held["version"] + 1, "go_on": True}
        Worker.objects.update(paused_until=clock.now() + timedelta(hours=1))
        machines.end(WorkerMachine.objects.get(), "it was lost")
        assert ask("checkpoint", token, held=held, **told).status_code == 401
        until(world, lambda: is_closed(recovery))
        assert calls(world, PUT) == [6]
        assert recovery.outcome == RecoveryOutcome.SUCCEEDED

    def test_what_a_machine_finds_damaged_fails_the_recovery_and_is_named(
        self, world: World, recovery: Recovery
    ) -> None:
        held, token = claimed(WorkerMachine.objects.get())
        told = {"progress": {"block": 4}, "blocks": 3, "stored_bytes": 0, "lost": ["block 2"]}
        answer = ask("checkpoint", token, held=held, **told).json()
        done = {"progress": {}, "blocks": 2, "stored_bytes": 0, "is_done": True}
        ask("checkpoint", token, held={**held, "version": answer["version"]}, **done)
        until(world, lambda: is_closed(recovery))
        assert recovery.outcome == RecoveryOutcome.FAILED
        assert "block 2 is damaged" in recovery.error
        assert world.snapshots_in_aws(cpm_recovery_id=str(recovery.pk)) == []

    def test_a_machine_stops_when_the_recovery_has_failed(
        self, world: World, recovery: Recovery
    ) -> None:
        held, token = claimed(WorkerMachine.objects.get())
        assert ask("alive", token, held=[held]).json() == {"held": [held]}
        fault = {"reason": "fault", "kind": "denied", "message": "no"}
        for _ in range(3):
            assert ask("keys", token, held=held, side="repository").status_code == 200
            ask("failed", token, held=held, **fault)
            world.move_to(S3RestoreRange.objects.get().due_at or clock.now())
            world.work()
            if not is_closed(recovery):
                held = claim(token)
        assert recovery.outcome == RecoveryOutcome.FAILED
        assert ask("alive", token, held=[held]).json() == {"held": []}
        assert ask("claim", token).json()["assignment"] is None


def claimed(machine: WorkerMachine) -> tuple[dict[str, Any], str]:
    """The range that a machine claims when it has said who it is, and its token."""
    token = enrolled(machine)
    return claim(token), token


def claim(token: str) -> dict[str, Any]:
    assigned = ask("claim", token).json()["assignment"]
    assert assigned["type"] == "restore"
    return {"range_id": assigned["range_id"], "version": assigned["version"], "kind": "restore"}


def is_closed(recovery: Recovery) -> bool:
    recovery.refresh_from_db()
    return bool(recovery.outcome)
