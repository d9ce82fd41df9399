"""A worker machine is launched as it is configured, once, or the server does its work."""

from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings as django_settings

from cpm.engine import (
    identity,
    machines,
    tick,
)
from cpm.models.alerts import Alert
from cpm.models.backups import CopyStatus
from cpm.models.machines import MachinePhase, WorkerMachine
from cpm.models.s3_copies import S3CopyRange
from cpm.models.workers import Worker
from tests.engine.archiving import Vault, s3_policy, volume
from tests.engine.machines.host import instances, user_data
from tests.engine.machines.runs import machine_phase, run, until
from tests.engine.world import World, volume_target


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
