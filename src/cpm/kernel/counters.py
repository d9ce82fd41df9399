"""What this process has counted: kept here until `collect` takes it to where all of it is kept.

A series is a line of Prometheus's text format without its value: a name, and labels in braces.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

# Upper bounds of the time that something takes, in seconds.
BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


@dataclass(frozen=True)
class Collected:
    """`counts` are to be added to what was counted before, `marks` stand unless there is more."""

    counts: Mapping[str, float] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)


_lock = threading.Lock()
_counts: dict[str, float] = {}
_marks: dict[str, float] = {}


def series(name: str, **labels: object) -> str:
    """How the format writes a name with its labels."""
    written = ",".join(f'{label}="{_escaped(str(value))}"' for label, value in labels.items())
    return f"{name}{{{written}}}" if written else name


def count(name: str, **labels: object) -> None:
    """Count one more."""
    _add({series(name, **labels): 1.0})


def observe(name: str, seconds: float, **labels: object) -> None:
    """Count something that took so long, as a histogram."""
    fitting = [str(bound) for bound in BUCKETS if seconds <= bound]
    buckets = (series(f"{name}_bucket", **labels, le=bound) for bound in (*fitting, "+Inf"))
    _add(
        {
            **dict.fromkeys(buckets, 1.0),
            series(f"{name}_sum", **labels): seconds,
            series(f"{name}_count", **labels): 1.0,
        }
    )


def mark(name: str, value: float) -> None:
    """Note how far something has come, which never goes back."""
    with _lock:
        _marks[name] = max(value, _marks.get(name, value))


def collect() -> Collected:
    """Everything since the last time."""
    with _lock:
        collected = Collected(dict(_counts), dict(_marks))
        _counts.clear()
        _marks.clear()
    return collected


def put_back(collected: Collected) -> None:
    """What could not be kept elsewhere is kept here for another while."""
    _add(collected.counts)
    for name, value in collected.marks.items():
        mark(name, value)


def _add(amounts: Mapping[str, float]) -> None:
    with _lock:
        for name, amount in amounts.items():
            _counts[name] = _counts.get(name, 0.0) + amount


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
