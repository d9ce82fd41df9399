"""Reads of policies: the records, and when they will run."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet, Subquery

from cpm.engine.schedules import arithmetic_of
from cpm.kernel import clock
from cpm.models.backups import Backup
from cpm.models.policies import Policy, PolicySchedule
from cpm.queries.people import Person, owned_by


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """One time at which a policy will run, and the schedule that says so."""

    run_at: datetime
    schedule_id: int
    schedule_name: str


def visible_to(viewer: Person) -> QuerySet[Policy]:
    """The policies that somebody sees."""
    return Policy.objects.filter(owned_by(viewer))


def listed(viewer: Person) -> QuerySet[Policy]:
    """The same, with the ids of their schedules and what there is to say of the last backup."""
    last = Backup.objects.filter(policy=OuterRef("pk"), discarded_at=None).order_by("-id")
    links = PolicySchedule.objects.filter(policy=OuterRef("pk")).order_by("schedule_id")
    return visible_to(viewer).annotate(
        schedule_ids=ArraySubquery(links.values("schedule_id")),
        last_backup_id=Subquery(last.values("id")[:1]),
        last_backup_outcome=Subquery(last.values("outcome")[:1]),
        last_backup_started_at=Subquery(last.values("started_at")[:1]),
    )


def run_times(viewer: Person, policy_id: int, days_ahead: int) -> Iterator[Run]:
    """When a policy will run, for so many times 24 hours from now, ascending.

    Schedules that are due at the same minute make one run, which names the lowest id.
    """
    now = clock.now()
    links = PolicySchedule.objects.filter(
        policy__in=visible_to(viewer).filter(pk=policy_id, enabled=True)
    )
    times = merge(
        *(
            _runs(link, now, now + timedelta(days=days_ahead))
            for link in links.select_related("schedule")
        )
    )
    for _, runs in groupby(times, key=lambda run: run.run_at):
        yield next(runs)


def _runs(link: PolicySchedule, after: datetime, until: datetime) -> Iterator[Run]:
    schedule = link.schedule
    for run_at in arithmetic_of(schedule).runs_between(after, until):
        yield Run(run_at, schedule.pk, schedule.name)
