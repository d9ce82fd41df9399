"""Rows of agents follow the targets that want one, and tell what AWS says of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from cpm.engine import agents, sweep
from cpm.kernel import clock
from cpm.models.agents import Agent, AgentStatus
from tests.engine.world import OTHER_REGION, World, instance_target, volume_target

ONLINE, OFFLINE = AgentStatus.ONLINE, AgentStatus.OFFLINE
LIST = "ssm:DescribeInstanceInformation"


def plant(world: World, count: int = 1, **estate: Any) -> list[str]:
    """Instances with agents."""
    planted = world.seed(instances=count, **estate)["instances"]
    world.simulator.agents(world.credentials.account)
    return [str(each) for each in planted]


def statuses() -> dict[str, str]:
    return dict(Agent.objects.values_list("instance_id", "status"))


def test_an_agent_is_known_as_soon_as_a_target_wants_it(world: World) -> None:
    (instance_id,) = plant(world, name="web")
    (other,) = plant(world)
    with_agent = instance_target(instance_id, agent_enabled=True)
    with_agent.name = "web-1"
    world.policy(with_agent, instance_target(other))
    world.work()
    agent = Agent.objects.get()
    assert (agent.instance_id, agent.instance_name) == (instance_id, "web-1")
    assert (agent.account, agent.region) == (world.account, "us-east-1")
    assert (agent.status, agent.platform) == (ONLINE, "Amazon Linux 2023")
    assert agent.version
    assert agent.last_heartbeat_at is not None
    assert clock.now() - agent.last_heartbeat_at < timedelta(minutes=1)


def test_what_has_no_agent_or_a_silent_one_is_offline(world: World) -> None:
    silent, without = plant(world, 2)
    world.simulator.agents(world.credentials.account, [{"instance_id": silent, "online": False}])
    world.policy(*(instance_target(each, agent_enabled=True) for each in (silent, without)))
    world.work()
    assert statuses() == {silent: OFFLINE, without: OFFLINE}
    assert Agent.objects.get(instance_id=silent).last_heartbeat_at is not None
    assert Agent.objects.get(instance_id=without).version is None


def test_an_agent_falls_silent_and_is_heard_of_again(world: World) -> None:
    (instance_id,) = plant(world)
    world.policy(instance_target(instance_id, agent_enabled=True))
    world.work()
    world.simulator.agents(
        world.credentials.account, [{"instance_id": instance_id, "online": False}]
    )
    agents.list_all()
    world.work()
    assert statuses() == {instance_id: OFFLINE}
    world.simulator.agents(world.credentials.account)
    agents.list_all()
    world.work()
    assert statuses() == {instance_id: ONLINE}


def test_silence_counts_though_aws_cannot_be_asked(world: World) -> None:
    (instance_id,) = plant(world)
    world.policy(instance_target(instance_id, agent_enabled=True))
    world.work()
    world.simulator.faults([{"op": LIST, "kind": "denied"}])
    agents.list_all()
    world.work()
    assert statuses() == {instance_id: ONLINE}
    Agent.objects.update(last_heartbeat_at=clock.now() - timedelta(minutes=6))
    agents.list_all()
    world.work()
    assert statuses() == {instance_id: OFFLINE}


def test_an_agent_that_no_target_wants_any_longer_is_forgotten(world: World) -> None:
    kept, removed, switched_off = plant(world, 3)
    targets = [instance_target(each, agent_enabled=True) for each in (kept, removed, switched_off)]
    policy = world.policy(*targets)
    world.policy(instance_target(kept, agent_enabled=True))
    world.work()
    first = Agent.objects.get(instance_id=kept).pk
    targets[1].delete()
    policy.targets.filter(resource_id=switched_off).update(options={"agent_enabled": False})
    agents.list_all()
    world.work()
    assert list(Agent.objects.values_list("pk", flat=True)) == [first]


def test_aws_is_asked_now_and_then_in_few_calls_and_only_where_somebody_wants_it(
    world: World,
) -> None:
    world.policy(volume_target(world.volume()))
    world.work()
    assert LIST not in world.simulator.counts()
    here = plant(world, 60)
    (there,) = world.seed(region=OTHER_REGION, instances=1)["instances"]
    world.policy(
        *(instance_target(each, agent_enabled=True) for each in here),
        instance_target(there, OTHER_REGION, agent_enabled=True),
    )
    world.work()
    assert world.simulator.counts()[LIST] == 3
    sweep.sweep()
    world.work()
    assert world.simulator.counts()[LIST] == 3
    world.pass_time(timedelta(minutes=2))
    assert world.simulator.counts()[LIST] == 6
    assert len(statuses()) == 61


def test_windows_tells_what_it_is(world: World, settings: Any) -> None:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, inventory_hours=0)
    (instance_id,) = plant(world, platform="windows")
    world.policy(instance_target(instance_id, agent_enabled=True))
    world.work()
    platform = Agent.objects.get().platform
    assert platform == "Microsoft Windows Server 2022 Datacenter 10.0.20348"
