"""Ends what is in the making at once, for those who cannot wait: by id, or all of it."""

from collections.abc import Collection, Iterator

from moto.rds.models import rds_backends

from cpm.simulator import ec2_state, making
from cpm.simulator.ec2_snapshots import table as ec2_snapshots_of
from cpm.simulator.lives import Life
from cpm.simulator.rds_kinds import KINDS


def finish(wanted: Collection[str]) -> list[str]:
    """End what has these ids, in any account and region, or everything when there are none."""
    finished = []
    for name, life in (*_of_ec2(), *_of_rds()):
        if (not wanted or name in wanted) and not life.is_due:
            life.end_now()
            finished.append(name)
    return finished


def _of_ec2() -> Iterator[tuple[str, Life]]:
    for ec2 in ec2_state.everywhere():
        for snapshot in ec2_snapshots_of(ec2).values():
            yield snapshot.id, snapshot.life


def _of_rds() -> Iterator[tuple[str, Life]]:
    for regions in list(rds_backends.values()):
        for rds in list(regions.values()):
            for kind in KINDS:
                for thing in (*kind.table(rds).values(), *kind.sources(rds).values()):
                    made = making.of(thing)
                    if made is not None:
                        yield thing.resource_id, made.life
