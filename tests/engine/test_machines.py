"""Worker machines: launched for copies as configured, trusted with little, and ended."""

import itertools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client

from cpm.archive import packs
from cpm.engine import (
    discovery,
    identity,
    machine_inventory,
    machine_launch,
    machine_work,
    machines,
    tick,
)
from cpm.kernel import clock
from cpm.models.alerts import Alert
from cpm.models.backups import Backup, CopyStatus
from cpm.models.discoveries import Discovered
from cpm.models.machines import MachineOutcome, MachinePhase, WorkerMachine
from cpm.models.operations import Operation
from cpm.models.s3_copies import S3CopyRange
from cpm.models.workers import Worker
from tests.engine.archiving import Vault, copies_of, in_ebs, s3_policy, volume
from tests.engine.machine_host import Host, Machine, hosting, instances, user_data
from tests.engine.world import REGION, World, open_alerts, volume_target

URL = "https://cpm.example.com:8443"


@pytest.fixture
def vault(world: World) -> Vault:
    return Vault.of(world)


@pytest.fixture
def worker(world: World, settings: Any, tmp_path: Path) -> Worker:
    """A configuration, on a server that machines can reach."""
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, server_url=URL, data=tmp_path / "data")
    return Worker.objects.create(user=world.user, account=world.account, region=REGION)


def run(world: World, vault: Vault, source: str = "") -> Backup:
    """Run a policy that copies to S3, until its copies wait for a machine, or are made."""
    backup = tick.run_now(s3_policy(vault, volume_target(source or volume(world))))
    until(world, lambda: machine_phase() == MachinePhase.RUNNING or is_over(backup))
    return backup


def until(world: World, condition: Callable[[], bool]) -> None:
    """Work on, moving the clock to what is due next, until the condition holds."""
    for _ in range(200):
        world.work()
        if condition():
            return
        assert world.next_look()
    raise AssertionError("it does not come about")


def is_over(backup: Backup) -> bool:
    """Whether its copies are made, or given up."""
    backup.refresh_from_db()
    return backup.s3_status not in (CopyStatus.NONE, CopyStatus.IN_PROGRESS)


def machine_phase() -> str:
    """Where the newest machine stands."""
    newest = WorkerMachine.objects.order_by("-pk").first()
    return newest.phase if newest else ""


class TestLaunching:
    def test_a_copy_launches_one_machine_as_it_is_configured(
        self, world: World, vault: Vault, worker: Worker
    ) -> None:
        ec2 = world.ec2()
        ec2.create_key_pair(KeyName="night")
        vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.7.1.0/24")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName="movers", Description="x", VpcId=vpc)
        Worker.objects.update(
            instance_type="m5.large",
            key_pair="night",
            vpc=vpc,
            security_group="movers",
            max_parallel_blocks=24,
            network_access="P",
            proxy_address="proxy.example.com",
            proxy_port=3128,
            proxy_user="cpm",
            sealed_proxy_password=django_settings.SEALER.seal("a password'"),
        )
        policy = s3_policy(vault, volume_target(volume(world)), volume_target(volume(world)))
        tick.run_now(policy)
        until(world, lambda: machine_phase() == MachinePhase.RUNNING)
        (machine,) = WorkerMachine.objects.all()
        (launched,) = instances(world)
        assert launched["InstanceId"] == machine.instance_id
        assert (launched["InstanceType"], launched["KeyName"]) == ("m5.large", "night")
        assert (launched["VpcId"], launched["SubnetId"]) == (vpc, subnet)
        assert [each["GroupId"] for each in launched["SecurityGroups"]] == [group["GroupId"]]
        tags = {each["Key"]: each["Value"] for each in launched["Tags"]}
        assert tags == {
            "Name": "CPMWorkerMachine",
            "cpm_server_id": identity.server_id(),
            "cpm_token": str(machine.token),
        }
        behaviour = ec2.describe_instance_attribute(
            InstanceId=machine.instance_id, Attribute="instanceInitiatedShutdownBehavior"
        )["InstanceInitiatedShutdownBehavior"]
        assert behaviour["Value"] == "terminate"
        assert world.simulator.counts()["ec2:RunInstances"] == 1
        assert "ec2:CreateTags" not in world.simulator.counts()
        script = user_data(world, machine.instance_id)
        assert "proxy=http://cpm:a%20password%27@proxy.example.com:3128\n" in script
        assert "connections=24" in script
        assert len(script.encode()) < 16 * 1024
        # All ranges of both copies are the machine's.
        assert set(S3CopyRange.objects.values_list("machine", flat=True)) == {machine.pk}

    def test_the_answer_that_is_lost_launches_no_second_machine(
        self, world: World, vault: Vault, worker: Worker
    ) -> None:
        world.simulator.faults([{"op": "ec2:RunInstances", "kind": "lost", "times": 1}])
        run(world, vault)
        assert len(instances(world)) == 1
        assert world.simulator.counts()["ec2:RunInstances"] == 1

    def test_a_call_that_was_cut_off_is_made_again(
        self, world: World, vault: Vault, worker: Worker
    ) -> None:
        world.simulator.faults([{"op": "ec2:RunInstances", "kind": "drop", "times": 1}])
        run(world, vault)
        assert len(instances(world)) == 1

    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            ({"kind": "denied"}, "UnauthorizedOperation"),
            ({"kind": "500", "code": "VcpuLimitExceeded"}, "VcpuLimitExceeded"),
        ],
    )
    def test_what_aws_refuses_to_launch_the_server_copies_itself(
        self, world: World, vault: Vault, worker: Worker, fault: dict[str, Any], code: str
    ) -> None:
        world.simulator.faults([{"op": "ec2:RunInstances", **fault}])
        backup = run(world, vault)
        assert backup.s3_status == CopyStatus.SUCCEEDED
        assert not instances(world)
        (alert,) = Alert.objects.all()
        assert alert.cause == machines.cause(worker)
        assert code in alert.message
        assert machine_phase() == MachinePhase.CLOSED
        # It is not tried at each range.
        assert world.simulator.counts()["ec2:RunInstances"] == 1

    def test_a_machine_of_another_architecture_is_refused_in_words(
        self, world: World, vault: Vault, worker: Worker
    ) -> None:
        Worker.objects.update(instance_type="c6g.large")
        backup = run(world, vault)
        assert backup.s3_status == CopyStatus.SUCCEEDED
        assert "c6g.large is arm64" in Alert.objects.get().message

    @pytest.mark.parametrize("url", ["", "https://localhost", "https://127.0.0.1:8443"])
    def test_without_a_way_to_the_server_it_copies_itself(
        self, world: World, vault: Vault, worker: Worker, settings: Any, url: str
    ) -> None:
        settings.ENVIRONMENT = replace(settings.ENVIRONMENT, server_url=url)
        backup = run(world, vault)
        assert backup.s3_status == CopyStatus.SUCCEEDED
        assert "CPM_SERVER_URL" in Alert.objects.get().message
        assert not WorkerMachine.objects.exists()


_homes = itertools.count(1)


@pytest.fixture
def host(worker: Worker, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """The server, as machines reach it; they ask often."""
    monkeypatch.setattr(machine_work, "ASK_AGAIN_SECONDS", 0.2)
    with hosting(settings.ENVIRONMENT.data) as running:
        settings.ENVIRONMENT = replace(settings.ENVIRONMENT, server_url=running.url)
        yield running


@pytest.fixture
def boot(world: World, tmp_path: Path) -> Iterator[Callable[[], Machine]]:
    """Starts what the newest machine's user data says."""
    booted: list[Machine] = []

    def start() -> Machine:
        row = WorkerMachine.objects.latest("pk")
        home = tmp_path / f"machine-{next(_homes)}"
        booted.append(Machine.boot(world, row.instance_id, home))
        return booted[-1]

    yield start
    for each in booted:
        each.kill()


def work_until(world: World, condition: Callable[[], bool], machine: Machine) -> None:
    """Let the server and the machine work, each at its own speed."""

    def look() -> bool:
        world.work()
        return condition() or machine.process.poll() is not None

    assert clock.wait_until(look, timeout_seconds=120, interval_seconds=0.1), machine.log
    assert condition(), machine.log


def let_idle(world: World, machine: Machine) -> None:
    """Let time pass, no faster than the machine gives signs of life, until it is ended."""
    while machine_phase() == MachinePhase.RUNNING:
        row = WorkerMachine.objects.latest("pk")
        world.move_to(row.due_at or clock.now())
        now = clock.now()
        seen = WorkerMachine.objects.filter(pk=row.pk, seen_at__gte=now)
        assert clock.wait_until(seen.exists, timeout_seconds=60), machine.log
        world.work()


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


def blocks_read(world: World) -> int:
    """How many blocks AWS has been asked for."""
    return int(world.simulator.counts().get("ebs:GetSnapshotBlock", 0))


def is_running() -> bool:
    """Whether AWS has launched the newest machine."""
    return machine_phase() == MachinePhase.RUNNING


def check_copied(world: World, vault: Vault, backup: Backup) -> None:
    """All of the run's snapshot is in S3, as EBS has it."""
    assert backup.s3_status == CopyStatus.SUCCEEDED
    (copy,) = copies_of(backup)
    (original,) = backup.snapshots.filter(collection="volumes")
    assert vault.blocks(copy) == in_ebs(world, original.aws_ref, original.size_gib or 1)


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
        assert ask("keys", token, held=held, side="source").status_code == 200
        S3CopyRange.objects.update(machine=None, claimed_at=None)
        assert ask("keys", token, held=held, side="source").status_code == 401
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


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def enrol(token: str, instance_id: str) -> Any:
    """Say who one is, as the user data does."""
    body = {"instance_id": instance_id}
    return Client().post("/machines/enrol", body, headers=bearer(token))


def enrolled(machine: WorkerMachine) -> str:
    """The token of a machine that has said who it is."""
    answer = enrol(machine_launch.enrolment_token(machine), machine.instance_id)
    return str(answer.content.decode())


def ask(what: str, token: str, **told: Any) -> Any:
    """Ask the server as a machine does."""
    return Client().post(
        f"/machines/{what}", told, content_type="application/json", headers=bearer(token)
    )


class TestEnds:
    def test_what_aws_has_and_no_row_knows_is_ended(
        self, world: World, vault: Vault, worker: Worker
    ) -> None:
        run(world, vault)
        kept = WorkerMachine.objects.get()
        recovered = launch_like(world, of_operation(world))
        alike = launch_like(world, uuid.uuid4(), client_token="another")
        lost = launch_like(world, uuid.uuid4())
        machine_inventory.start()
        world.work()
        left = {each["InstanceId"] for each in instances(world, "pending", "running")}
        assert left == {kept.instance_id, recovered, alike}
        assert lost not in left
        # Those that are known to be ended already are not ended once more.
        world.simulator.reset_counts()
        machine_inventory.start()
        world.work()
        assert "ec2:TerminateInstances" not in world.simulator.counts()

    def test_a_machine_that_never_reports_is_ended_and_after_three_the_server_copies(
        self, world: World, vault: Vault, worker: Worker
    ) -> None:
        backup = run(world, vault)
        until(world, lambda: is_over(backup))
        assert backup.s3_status == CopyStatus.SUCCEEDED
        assert WorkerMachine.objects.count() == machines.MOST_FAILURES
        assert not instances(world, "pending", "running")
        assert "has not reported" in Alert.objects.get().message

    def test_deleting_the_configuration_ends_its_machine(
        self, world: World, vault: Vault, worker: Worker
    ) -> None:
        backup = run(world, vault)
        # It is nothing that somebody has forgotten to protect.
        discovery.discover(world.account.pk)
        kinds = set(Discovered.objects.values_list("kind", flat=True))
        assert kinds == {"ebs_volume"}
        assert not Discovered.objects.filter(part_of__startswith="i-").exists()
        machines.wake(worker)
        worker.delete()
        until(world, lambda: is_over(backup) and machine_phase() == MachinePhase.CLOSED)
        assert backup.s3_status == CopyStatus.SUCCEEDED
        assert not instances(world, "pending", "running")

    def test_a_machine_that_cannot_be_ended_is_tried_again(
        self, world: World, vault: Vault, worker: Worker
    ) -> None:
        run(world, vault)
        world.simulator.faults([{"op": "ec2:TerminateInstances", "kind": "denied", "times": 2}])
        machines.end(WorkerMachine.objects.get())
        until(world, lambda: WorkerMachine.objects.earliest("pk").due_at is None)
        first = WorkerMachine.objects.earliest("pk").instance_id
        assert first not in {each["InstanceId"] for each in instances(world, "running")}
        assert world.simulator.counts()["ec2:TerminateInstances"] == 3


def of_operation(world: World) -> uuid.UUID:
    """The token of an operation, as of one that has recovered an instance."""
    return Operation.objects.values_list("token", flat=True)[0]


def launch_like(world: World, token: uuid.UUID, client_token: str = "") -> str:
    """Launch an instance with the tags of a worker machine; its id."""
    marks = {"Name": "CPMWorkerMachine", "cpm_server_id": identity.server_id()}
    tags = [
        {"Key": key, "Value": value} for key, value in {**marks, "cpm_token": str(token)}.items()
    ]
    launched = world.ec2().run_instances(
        ImageId="ami-0abcdef1234567890",
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        ClientToken=client_token or str(token),
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    return str(launched["Instances"][0]["InstanceId"])
