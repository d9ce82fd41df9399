"""What moto makes at once and AWS in its own time: a life of ours hung on an object of moto's.

The object keeps the life in its `making` attribute, so that it is saved, reset and deleted with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from cpm.kernel import clock
from cpm.simulator.calls import Call
from cpm.simulator.config import Config
from cpm.simulator.lives import Life, State

T = TypeVar("T")


@dataclass
class Making:
    """How far something has got, what it came from, and when listings show it.

    `origins` are names of it and of what it came from: it fails when the configuration says that
    one of them fails.
    """

    life: Life
    origins: frozenset[str]
    listed_at: datetime


def begin(call: Call, thing: Any, seconds: float, *origins: str) -> None:
    """Let `thing`, which `call` made, be pending for `seconds` from now on."""
    thing.making = Making(Life.of(seconds), frozenset(origins), call.listed_at())


def of(thing: Any) -> Making | None:
    """The making of `thing`; None for what was there from the first."""
    found: Making | None = getattr(thing, "making", None)
    return found


def settle(config: Config, thing: Any) -> State:
    """The state of `thing` by now."""
    made = of(thing)
    if made is None:
        return State.DONE
    return made.life.settle(fails=bool(config.fail & made.origins))


def is_pending(thing: Any) -> bool:
    """Whether `thing` is still in the making, for things that never fail."""
    made = of(thing)
    return made is not None and made.life.settle(fails=False) is State.PENDING


def progress_percent(thing: Any) -> int:
    """How far `thing` is, 100 when it is over."""
    made = of(thing)
    return made.life.progress_percent() if made else 100


def is_listed(thing: Any) -> bool:
    """Whether listings show `thing` yet."""
    made = of(thing)
    return made is None or clock.now() >= made.listed_at


def listed(things: Iterable[T]) -> list[T]:
    """Those of `things` that listings show yet."""
    return [thing for thing in things if is_listed(thing)]
