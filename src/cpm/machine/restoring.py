"""Putting back what the server has assigned, with keys and a budget that are the server's too."""

from collections.abc import Callable, Sequence

from cpm.archive import target
from cpm.archive.copying import Limits
from cpm.archive.errors import Damaged
from cpm.kernel import clock
from cpm.machine.task import Means, repository_of
from cpm.machine.wire import Restoring

# What a crash costs at most.
CHECKPOINT_SECONDS = 5.0


def restore(
    wanted: Restoring,
    means: Means,
    *,
    tell: Callable[[int, list[str]], None],
) -> bool:
    """Put the range; false if it was stopped before its end.

    `tell` hears before which block all is done, and what was damaged; at the end too. Raises Fault,
    `NotFound` and `Damaged`, and whatever `tell` raises.
    """
    repository = repository_of(wanted, means.ways)
    due = clock.monotonic() + CHECKPOINT_SECONDS

    def note(block: int, damages: Sequence[Damaged]) -> None:
        nonlocal due
        if clock.monotonic() >= due:
            tell(block, _names(damages))
            due = clock.monotonic() + CHECKPOINT_SECONDS

    put = target.restore_range(
        repository,
        repository.manifest(wanted.manifest),
        means.ways("snapshot", wanted.place),
        wanted.snapshot_id,
        range(wanted.first_page, wanted.last_page + 1),
        first_block=wanted.block,
        tell=note,
        should_stop=means.should_stop,
        limits=Limits(connections=means.connections),
        progress=means.progress,
    )
    tell(put.block, _names(put.damages))
    return put.is_finished


def _names(damages: Sequence[Damaged]) -> list[str]:
    # Other threads may add to them.
    return [each.what for each in list(damages)]
