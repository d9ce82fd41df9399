"""Worker machines copy, with keys for that alone, and whoever is killed is replaced."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from cpm.archive import packs
from cpm.archive.collector import GRACE, collect
from cpm.archive.pages import Places
from cpm.engine import deletions
from cpm.models.backups import Backup, CopyStatus
from cpm.models.machines import MachineOutcome, MachinePhase, WorkerMachine
from cpm.models.s3_copies import S3CopyRange
from cpm.models.workers import Worker
from tests.engine.archiving import Vault, copies_of, in_ebs, volume, write
from tests.engine.conftest import Later
from tests.engine.machines.host import Host, Machine, instances, user_data
from tests.engine.machines.runs import (
    is_over,
    is_running,
    let_idle,
    machine_phase,
    run,
    until,
    work_until,
)
from tests.engine.world import World, open_alerts


class TestWork:
    def test_a_machine_copies_what_ebs_has_with_keys_for_that_alone(
        self,
        world: World,
        vault: Vault,
        host: Host,
        boot: Callable[[], Machine],
    ) -> None:
        source = volume(world, size_gib=3, blocks=6)
        backup = run(world, vault, source)
        world.simulator.config(enforce_iam=True)
        try:
            machine = boot()
            work_until(world, lambda: is_over(backup), machine)
        finally:
            world.simulator.config(enforce_iam=False)
        check_copied(world, vault, backup)
        assert not open_alerts()
        assert machine.calls[0] == "shutdown -P +1440"
        # With nothing more to do it is ended, and told so when it asks again.
        let_idle(world, machine)
        until(world, lambda: machine_phase() == MachinePhase.CLOSED)
        assert WorkerMachine.objects.get().outcome == MachineOutcome.SUCCEEDED
        (gone,) = instances(world)
        assert gone["State"]["Name"] in ("shutting-down", "terminated")
        assert machine.ends()
        assert machine.calls[-1] == "shutdown -P now"
        what_it_had = machine.log + user_data(world, gone["InstanceId"])
        for secret in (world.credentials.secret_access_key, django_settings.SECRET):
            assert secret not in what_it_had

    def test_what_a_killed_machine_leaves_another_goes_on_with(
        self,
        world: World,
        vault: Vault,
        host: Host,
        boot: Callable[[], Machine],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Packs of a block or two, and time to be killed between them.
        monkeypatch.setattr(packs, "DEFAULT_PACK_BYTES", 2**19)
        world.simulator.faults([{"op": "ebs:GetSnapshotBlock", "kind": "delay", "seconds": 0.4}])
        backup = run(world, vault, volume(world, blocks=40))
        first = boot()
        work_until(world, S3CopyRange.objects.filter(block__gt=0).exists, first)
        first.kill()
        world.simulator.faults([])
        kept = S3CopyRange.objects.get().block
        assert not is_over(backup)
        until(world, lambda: WorkerMachine.objects.count() == 2 and is_running())
        lost = WorkerMachine.objects.earliest("pk")
        assert lost.outcome == MachineOutcome.FAILED
        assert "does not report any longer" in lost.error
        assert len(instances(world, "pending", "running")) == 1
        second = boot()
        work_until(world, lambda: is_over(backup), second)
        check_copied(world, vault, backup)
        # One more checkpoint may have been on its way.
        assert 0 < kept <= second.begun_at() < 40

    def test_a_server_that_goes_away_is_waited_for(
        self, world: World, vault: Vault, host: Host, boot: Callable[[], Machine]
    ) -> None:
        world.simulator.faults([{"op": "ebs:GetSnapshotBlock", "kind": "delay", "seconds": 0.3}])
        backup = run(world, vault, volume(world, blocks=16))
        host.stop()
        machine = boot()
        host.start()
        work_until(world, lambda: blocks_read(world) > 0, machine)
        host.stop()
        # It goes on meanwhile, and has something to tell when it comes to the end.
        work_until(world, lambda: blocks_read(world) == 16, machine)
        host.start()
        work_until(world, lambda: is_over(backup), machine)
        check_copied(world, vault, backup)
        assert WorkerMachine.objects.count() == 1

    def test_what_another_volume_has_brought_stays_beside_a_collection_and_is_stored_once(
        self,
        world: World,
        vault: Vault,
        worker: Worker,
        host: Host,
        boot: Callable[[], Machine],
        later: Later,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setattr(packs, "DEFAULT_PACK_BYTES", 2**19)
        Worker.objects.update(max_parallel_blocks=1)
        source, twin = volume(world, blocks=6), volume(world, blocks=0)
        first = run(world, vault, source)
        machine = boot()
        work_until(world, lambda: is_over(first), machine)
        brought = {place.pack for place in places_of(vault, first).values()}
        # No pack is kept for its age alone any longer.
        later(GRACE)
        world.simulator.write_blocks(twin, 100, world.simulator.read_blocks(source, 0, 6))
        write(world, twin, start=200, count=12, seed=9)
        world.simulator.faults([{"op": "ebs:GetSnapshotBlock", "kind": "delay", "seconds": 0.2}])
        second = run(world, vault, twin)
        work_until(world, S3CopyRange.objects.filter(block__gt=200).exists, machine)
        machine.hold()
        world.simulator.faults([])
        deletions.discard(first)
        work_until(world, lambda: len(vault.manifests()) == 0, machine)
        assert collect(vault.opened(), tmp_path).deleted_packs == 0
        assert not is_over(second)
        machine.go_on()
        work_until(world, lambda: is_over(second), machine)
        places = places_of(vault, second)
        assert {places[block].pack for block in range(100, 106)} <= brought
        later(GRACE)
        collect(vault.opened(), tmp_path)
        assert not vault.keys("retired/")
        check_copied(world, vault, second)


def places_of(vault: Vault, backup: Backup) -> Places:
    """Where the blocks of the run's copy are."""
    (copy,) = copies_of(backup)
    opened = vault.opened()
    (page,) = opened.manifest(copy.aws_ref).pages
    return opened.page(page)


def blocks_read(world: World) -> int:
    """How many blocks AWS has been asked for."""
    return int(world.simulator.counts().get("ebs:GetSnapshotBlock", 0))


def check_copied(world: World, vault: Vault, backup: Backup) -> None:
    """All of the run's snapshot is in S3, as EBS has it."""
    assert backup.s3_status == CopyStatus.SUCCEEDED
    (copy,) = copies_of(backup)
    (original,) = backup.snapshots.filter(collection="volumes")
    assert vault.blocks(copy) == in_ebs(world, original.aws_ref, original.size_gib or 1)
