"""Copying what the server has assigned, with keys and a budget that are the server's too."""

from collections.abc import Callable

from cpm.archive import known
from cpm.archive.copying import Limits, copy_range
from cpm.archive.repository import Repository
from cpm.archive.source import EbsSource
from cpm.archive.writer import Checkpoint, Known
from cpm.machine.task import Means, repository_of
from cpm.machine.wire import Copying


def copy(
    wanted: Copying,
    means: Means,
    *,
    elsewhere: Callable[[Repository], Known],
    tell: Callable[[Checkpoint], None],
) -> bool:
    """Copy the range; false if it was stopped before its end.

    Raises Fault, `LineageBroken` and `Damaged`, and whatever `elsewhere` and `tell` raise.
    """
    repository = repository_of(wanted, means.ways)
    former = known.former(repository, wanted.based_on) if wanted.based_on else None
    base, has_been = known.going_on_from(repository, former, is_compared=bool(wanted.compared_with))
    return copy_range(
        repository,
        EbsSource(
            means.ways("snapshot", wanted.place), wanted.snapshot_id, wanted.compared_with or None
        ),
        range(wanted.first_page, wanted.last_page + 1),
        tell=tell,
        base=base,
        known=known.Both(has_been, elsewhere(repository)),
        after=wanted.after.checkpoint if wanted.after.block else None,
        should_stop=means.should_stop,
        limits=Limits(
            connections=means.connections, pack_bytes=wanted.pack_bytes, level=wanted.level
        ),
        progress=means.progress,
    )
