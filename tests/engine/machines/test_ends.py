"""Worker machines end: after their work, when they are lost, and when nobody knows them."""

import uuid

from cpm.engine import (
    discovery,
    identity,
    machine_inventory,
    machines,
)
from cpm.models.alerts import Alert
from cpm.models.backups import CopyStatus
from cpm.models.discoveries import Discovered
from cpm.models.machines import MachinePhase, WorkerMachine
from cpm.models.operations import Operation
from cpm.models.workers import Worker
from tests.engine.archiving import Vault
from tests.engine.machines.host import instances
from tests.engine.machines.runs import is_over, machine_phase, run, until
from tests.engine.world import World


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
