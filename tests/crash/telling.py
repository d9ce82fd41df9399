"""Stories told with crashes: each of them to its end, and from the beginning for each crash."""

import math
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from cpm.engine import queue
from cpm.models.budgets import ApiBudget
from tests.crash.death import AtLast, AtNewKind, Fate, Killed, mortal
from tests.crash.stories import Story, check_quiet
from tests.crash.time import TimedWorld

Told = TypeVar("Told", bound=Story)


def crash_at_every_point(
    world: TimedWorld, make: Callable[[], Story], *, at_once: float = 1
) -> None:
    """Tell the story again and again, each time with a crash at the first point of another kind.

    Long stories may have `at_once` of them, one after the other. Where there are several points of
    a kind, the last of them has its crash when the story is told once more.
    """
    met: set[str] = set()
    while tell(world, make, fate := Fate(AtNewKind(met, at_once))):
        pass
    tell(world, make, Fate(AtLast(Counter(fate.passed))))


def crash_again_and_again(world: TimedWorld, make: Callable[[], Story]) -> None:
    """Tell the story once, with a crash at the first point of each kind, one after the other."""
    assert tell(world, make, Fate(AtNewKind(most=math.inf))) > 1


def tell(world: TimedWorld, make: Callable[[], Told], fate: Fate) -> int:
    """Tell a story to its end, through all crashes that are its fate; says how many."""
    # What is under way, and cleanup, now and then, are no part of the story.
    world.work()
    story = make()
    # Nor are the calls of those before it.
    ApiBudget.objects.all().delete()
    crashes = 0
    try:
        while not comes_to_its_end(world, story, fate):
            crashes += 1
            queue.take_over_stalled(silent_seconds=0)
        check_quiet()
        story.check()
    except Exception as error:
        error.add_note(str(fate))
        raise
    return crashes


def comes_to_its_end(world: TimedWorld, story: Story, fate: Fate) -> bool:
    """Work on the story until nothing is open, or until the process dies."""
    try:
        with mortal(fate):
            story.ask()
            world.drain()
    except Killed:
        return False
    return True
