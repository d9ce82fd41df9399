"""Starts backups: when a schedule says so, and when somebody asks.

A link between policy and schedule carries the next time at which it is due. The tick runs what has
come due and moves the time on, in one transaction for each policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from cpm.engine import alerts, events, jobs
from cpm.engine.schedules import arithmetic_of
from cpm.kernel import clock, times
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.backups import Backup, BackupPhase, Trigger
from cpm.models.policies import Policy, PolicySchedule

# Nobody needs the exact number of runs that a long downtime has cost.
_MOST_COUNTED = 1000


class AlreadyRunning(Exception):
    """A backup of the policy is under way."""


class NothingToProtect(Exception):
    """The policy has no targets."""


@dataclass(frozen=True)
class Slot:
    """One time at which a policy is to run, and the schedule that says so."""

    due_at: datetime
    link: PolicySchedule


def run_now(policy: Policy) -> Backup:
    """Start a backup of the policy. Raises AlreadyRunning and NothingToProtect."""
    if not policy.targets.exists():
        raise NothingToProtect(policy.name)
    try:
        with transaction.atomic():
            return _start(policy, Trigger.MANUAL, None, "")
    except IntegrityError:
        raise AlreadyRunning(policy.name) from None


def arm_policy(policy_id: int) -> None:
    """The policy, or its list of schedules, was enabled or changed: due times start from now."""
    _arm(PolicySchedule.objects.filter(policy=policy_id))


def arm_schedule(schedule_id: int) -> None:
    """The schedule was changed: due times start from now."""
    _arm(PolicySchedule.objects.filter(schedule=schedule_id))


def arm_after(moment: datetime) -> None:
    """The clock was ahead: of schedules that are due after this, due times start from now."""
    _arm(PolicySchedule.objects.filter(next_run_at__gt=moment))


def missed_cause(policy_id: int) -> str:
    """The cause of alerts about runs that did not take place."""
    return f"policy:{policy_id}:missed"


def skipped_cause(policy_id: int) -> str:
    """The cause of alerts about runs that met an earlier one still under way."""
    return f"policy:{policy_id}:skipped"


@jobs.LOOK_AT_POLICY.runs
@transaction.atomic
def look(policy_id: int) -> None:
    """Run a policy whose time has come, once for all schedules that say so."""
    now = clock.now()
    due = PolicySchedule.objects.filter(policy=policy_id, next_run_at__lte=now)
    due = due.select_related("policy__user", "policy__account", "schedule")
    # In the order of schedules: of two that are due at one minute the lower id is named.
    links = list(due.select_for_update(of=("self",)).order_by("schedule"))
    if links and links[0].policy.enabled:
        slot = _chosen(links, now)
        _tell_of_missed(links, slot, now)
        if slot is not None:
            _run(slot)
    for link in links:
        _move_on(link, now)


@transaction.atomic
def _arm(links: QuerySet[PolicySchedule]) -> None:
    for link in links.select_related("policy", "schedule").select_for_update(of=("self",)):
        _move_on(link, clock.now())


def _move_on(link: PolicySchedule, after: datetime) -> None:
    following = arithmetic_of(link.schedule).next_run(after) if link.policy.enabled else None
    PolicySchedule.objects.filter(pk=link.pk).update(next_run_at=following)


def _chosen(links: Sequence[PolicySchedule], now: datetime) -> Slot | None:
    """The youngest run that came due, unless it is older than its schedule's interval."""
    slots = [
        Slot(due_at, link)
        for link in links
        if link.next_run_at is not None
        and (due_at := arithmetic_of(link.schedule).due_run(now, not_before=link.next_run_at))
    ]
    return max(slots, key=lambda slot: slot.due_at, default=None)


def _run(slot: Slot) -> None:
    policy = slot.link.policy
    try:
        with transaction.atomic():
            _start(policy, Trigger.SCHEDULE, slot.due_at, slot.link.schedule.name)
        alerts.resolve(skipped_cause(policy.pk))
    except IntegrityError:
        _note_skipped(slot)


def _start(
    policy: Policy, trigger: Trigger, scheduled_at: datetime | None, schedule_name: str
) -> Backup:
    now = clock.now()
    backup = Backup.objects.create(
        user=policy.user,
        account=policy.account,
        account_name=policy.account.name,
        policy=policy,
        policy_name=policy.name,
        schedule_name=schedule_name,
        trigger=trigger,
        scheduled_at=scheduled_at,
        started_at=now,
        due_at=now,
    )
    jobs.defer_backups([backup.pk])
    return backup


def _note_skipped(slot: Slot) -> None:
    policy = slot.link.policy
    running = Backup.objects.filter(policy=policy).exclude(phase=BackupPhase.CLOSED).first()
    if running is None or running.scheduled_at == slot.due_at:
        return  # it has run already
    due = times.to_wire(slot.due_at)
    events.log("run_skipped", backup=running, due=due)
    alerts.raise_alert(
        skipped_cause(policy.pk),
        user=policy.user,
        category=AlertCategory.BACKUP,
        severity=AlertSeverity.WARNING,
        title=f"Policy {policy.name} was due while it was still running",
        message=f"The run due at {due} was skipped.",
        policy=policy,
    )


def _tell_of_missed(links: Sequence[PolicySchedule], slot: Slot | None, now: datetime) -> None:
    """Tell of runs that were due while nothing was there to start them."""
    missed = _due_times(links, now) - ({slot.due_at} if slot else set())
    policy = links[0].policy
    if not missed:
        alerts.resolve(missed_cause(policy.pk))
        return
    alerts.raise_alert(
        missed_cause(policy.pk),
        user=policy.user,
        category=AlertCategory.BACKUP,
        severity=AlertSeverity.WARNING,
        title=f"Policy {policy.name} has missed runs",
        message="Runs that did not take place, because the server was not running: "
        f"{len(missed)}, the first due at {times.to_wire(min(missed))}.",
        policy=policy,
    )


def _due_times(links: Sequence[PolicySchedule], now: datetime) -> set[datetime]:
    found: set[datetime] = set()
    for link in links:
        if link.next_run_at is not None:
            before = link.next_run_at - timedelta(microseconds=1)
            runs = arithmetic_of(link.schedule).runs_between(before, now)
            found.update(islice(runs, _MOST_COUNTED))
    return found
