"""What tests of the inventory have in common: something to look through, and the look."""

from datetime import timedelta
from typing import Any

from cpm.engine import inventory
from cpm.kernel import clock
from cpm.models.events import Event, Stream
from cpm.models.policies import Policy
from tests.engine.world import World, volume_target

SEE = "ec2:DescribeSnapshots"


def take_stock(world: World) -> None:
    """Let AWS's lists settle, and compare."""
    world.move_to(clock.now() + timedelta(minutes=5))
    inventory.start()
    world.work()


def volumes(world: World, count: int = 1) -> Policy:
    """A policy that protects so many volumes."""
    return world.policy(*(volume_target(world.volume()) for _ in range(count)))


def cleanup_log(code: str) -> list[dict[str, Any]]:
    lines = Event.objects.filter(stream=Stream.CLEANUP, code=code).order_by("pk")
    return list(lines.values_list("values", flat=True))
