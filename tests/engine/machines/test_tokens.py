"""Who a worker machine is, and what it may do."""

from datetime import timedelta

import pytest
from django.test import Client

from cpm.engine import (
    machine_launch,
    machine_work,
    machines,
)
from cpm.kernel import clock
from cpm.models.alerts import Alert
from cpm.models.machines import MachinePhase, WorkerMachine
from cpm.models.s3_copies import S3CopyRange
from cpm.models.workers import Worker
from tests.engine.archiving import Vault
from tests.engine.machines.asking import ask, bearer, enrol, enrolled
from tests.engine.machines.runs import run
from tests.engine.world import REGION, World


class TestTokens:
    @pytest.fixture
    def machine(self, world: World, vault: Vault, worker: Worker) -> WorkerMachine:
        """One that has been launched, and has a range to copy."""
        run(world, vault)
        return WorkerMachine.objects.get()

    def test_the_token_of_the_user_data_counts_once_from_its_own_instance(
        self, machine: WorkerMachine
    ) -> None:
        token = machine_launch.enrolment_token(machine)
        assert enrol(token, "i-0123").status_code == 401
        assert ask("claim", token).status_code == 401
        given = enrol(token, machine.instance_id)
        assert given.status_code == 200
        assert ask("claim", given.content.decode()).status_code == 200
        assert bytes(WorkerMachine.objects.get().token_hash or b"") not in given.content
        # The second one shows that somebody has read the user data: neither is believed.
        assert enrol(token, machine.instance_id).status_code == 401
        assert ask("claim", given.content.decode()).status_code == 401
        machine.refresh_from_db()
        assert machine.phase == MachinePhase.ENDING
        assert "used twice" in machine.error

    def test_a_token_ends_with_its_machine_its_worker_and_its_time(
        self, world: World, machine: WorkerMachine
    ) -> None:
        token = enrolled(machine)
        world.move_to(clock.now() + machine_launch.LIFETIME)
        assert ask("claim", token).status_code == 401
        WorkerMachine.objects.update(deadline_at=clock.now() + timedelta(hours=1))
        assert ask("claim", token).status_code == 200
        machine.refresh_from_db()
        machines.end(machine)
        for what in ("claim", "alive", "keys"):
            assert ask(what, token).status_code == 401

    def test_a_machine_may_do_nothing_for_ranges_that_are_not_its_own(
        self, world: World, machine: WorkerMachine
    ) -> None:
        token = enrolled(machine)
        claimed = ask("claim", token).json()["assignment"]
        held = {"range_id": claimed["range_id"], "version": claimed["version"]}
        assert ask("keys", token, held=held, side="snapshot").status_code == 200
        S3CopyRange.objects.update(machine=None, claimed_at=None)
        assert ask("keys", token, held=held, side="snapshot").status_code == 401
        told = {"progress": {"block": 7}, "blocks": 7, "stored_bytes": 7}
        answer = ask("checkpoint", token, held=held, **told).json()
        assert answer == {"version": held["version"], "go_on": False}
        assert S3CopyRange.objects.get().block == 0
        other = {"account": "123456789012", "region": REGION}
        asked = {"place": other, "operation": "ebs:GetSnapshotBlock"}
        assert ask("budget", token, **asked).status_code == 401

    def test_what_is_told_twice_is_kept_once(self, machine: WorkerMachine) -> None:
        token = enrolled(machine)
        claimed = ask("claim", token).json()["assignment"]
        held = {"range_id": claimed["range_id"], "version": claimed["version"]}
        told = {"progress": {"block": 2}, "blocks": 2, "stored_bytes": 7}
        first = ask("checkpoint", token, held=held, **told).json()
        again = ask("checkpoint", token, held=held, **told).json()
        assert first == again == {"version": held["version"] + 1, "go_on": True}
        assert S3CopyRange.objects.get().blocks_read == 2
        late = ask("checkpoint", token, held=held, **{**told, "progress": {"block": 1}}).json()
        assert late["go_on"] is False

    def test_a_machine_that_gets_nowhere_is_given_up(
        self, machine: WorkerMachine, worker: Worker
    ) -> None:
        token = enrolled(machine)
        for _ in range(machine_work.MOST_FAULTS):
            S3CopyRange.objects.update(machine=machine, claimed_at=clock.now())
            row = S3CopyRange.objects.get()
            held = {"range_id": row.pk, "version": row.version}
            fault = {"reason": "fault", "kind": "transient", "message": "no route to S3"}
            assert ask("failed", token, held=held, **fault).status_code == 200
        assert ask("claim", token).status_code == 401
        assert "no route to S3" in Alert.objects.get().message
        worker.refresh_from_db()
        assert worker.paused_until is not None

    def test_strangers_are_told_nothing(self, machine: WorkerMachine) -> None:
        for what in ("claim", "software", "enrol", "nothing"):
            assert ask(what, "a token of somebody's").status_code == 401
            assert Client().get(f"/machines/{what}").status_code == 401
        token = enrolled(machine)
        assert ask("nothing", token).status_code == 404
        assert Client().post("/api/policies/", headers=bearer(token)).status_code == 401
