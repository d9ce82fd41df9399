"""Ends what is in the making at once, for those who cannot wait: by id, or all of it."""

from collections.abc import Collection, Iterator
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from moto.rds.models import rds_backends
from moto.redshift.models import redshift_backends

from cpm.simulator import ec2_state, making
from cpm.simulator.ec2_snapshots import table as ec2_snapshots_of
from cpm.simulator.lives import Life
from cpm.simulator.rds_kinds import KINDS


def finish(wanted: Collection[str]) -> list[str]:
    """End what has these ids, in any account and region, or everything when there are none."""
    finished = []
    for name, life in (*_of_ec2(), *_of_rds(), *_of_redshift(), *_of_dynamodb()):
        if (not wanted or name in wanted) and not life.is_due:
            life.end_now()
            finished.append(name)
    return finished


def _of_ec2() -> Iterator[tuple[str, Life]]:
    for ec2 in ec2_state.everywhere():
        for snapshot in ec2_snapshots_of(ec2).values():
            if snapshot.is_open:
                continue  # only its client can end it
            yield snapshot.id, snapshot.life


def _of_rds() -> Iterator[tuple[str, Life]]:
    for rds in _everywhere(rds_backends):
        for kind in KINDS:
            for thing in (*kind.table(rds).values(), *kind.sources(rds).values()):
                yield from _life(thing.resource_id, thing)


def _of_redshift() -> Iterator[tuple[str, Life]]:
    for redshift in _everywhere(redshift_backends):
        for name, thing in (*redshift.snapshots.items(), *redshift.clusters.items()):
            yield from _life(name, thing)


def _of_dynamodb() -> Iterator[tuple[str, Life]]:
    for dynamodb in _everywhere(dynamodb_backends):
        for name, thing in (*dynamodb.backups.items(), *dynamodb.tables.items()):
            yield from _life(name, thing)


def _everywhere(backends: Any) -> Iterator[Any]:
    """The backends of one service in all accounts and regions."""
    for regions in list(backends.values()):
        yield from list(regions.values())


def _life(name: str, thing: Any) -> Iterator[tuple[str, Life]]:
    made = making.of(thing)
    if made is not None:
        yield name, made.life
