"""Plans a backup: asks AWS what the targets are, and writes down what is to be done to them.

Each region is planned by itself, in one transaction. One that cannot be reached is tried again
until the deadline, while the others go on.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

from django.db import transaction

from cpm.engine import accounts, alerts, bulk, events, orders, sharing, trail, transitions
from cpm.kernel import clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.alerts import AlertCategory, AlertSeverity
from cpm.models.backups import Backup, BackupPhase, BackupTarget
from cpm.models.events import Event
from cpm.models.policies import AutoRemove, Policy, Target
from cpm.models.snapshots import Snapshot
from cpm.resources import options, registry
from cpm.resources.contract import Driver, OptionRefused, Order, Resource

# A region that is away for longer makes the backup fail; its retries come after that.
DEADLINE = timedelta(hours=1)
# Credentials may be being changed just now.
DENIED_DEADLINE = timedelta(minutes=5)
# The first full snapshot of the largest volumes takes many hours.
SNAPSHOT_DEADLINE = timedelta(hours=48)


@dataclass(frozen=True)
class Group:
    """Targets that AWS can be asked about together."""

    backup: Backup
    driver: Driver
    region: str
    targets: Sequence[BackupTarget]

    @property
    def place(self) -> orders.Place:
        """Where the work on them is done."""
        return orders.Place(self.driver.kind, self.backup.account, self.region)

    @property
    def account_cause(self) -> str:
        """The cause of alerts about an account that lets us in no more."""
        return f"account:{self.backup.account_id}:denied"


def begin(backup: Backup) -> None:
    """Fix what this backup is about: the policy's targets as they are now."""
    with transaction.atomic():
        transitions.move(
            backup,
            BackupPhase.RUNNING,
            started_at=clock.now(),
            runs_scripts=backup.policy is not None and backup.policy.enable_agent_scripts,
        )
        if backup.attempt == 0 and backup.policy is not None:
            BackupTarget.objects.bulk_create(
                [_as_found(backup, target) for target in _targets_of(backup.policy)]
            )
        events.log("backup_started", backup=backup, policy=backup.policy_name)


def plan(backup: Backup) -> bool:
    """Plan what is not planned yet; False when some of it has to wait."""
    unplanned = backup.targets.filter(planned_at=None).order_by("kind", "region", "pk")
    groups = groupby(unplanned, key=lambda target: (target.kind, target.region))
    # Each is tried, whatever became of those before.
    planned = [
        _plan_group(Group(backup, registry.driver(kind), region, list(targets)))
        for (kind, region), targets in groups
    ]
    return all(planned)


def missing_cause(policy_id: int) -> str:
    """The cause of alerts about targets that do not exist any longer."""
    return f"policy:{policy_id}:missing"


def _targets_of(policy: Policy) -> Iterable[Target]:
    return policy.targets.prefetch_related("volumes").order_by("pk")


def _as_found(backup: Backup, target: Target) -> BackupTarget:
    volumes: dict[bool, list[str]] = {False: [], True: []}
    for volume in target.volumes.all():
        volumes[volume.added_by_tag].append(volume.volume_id)
    timeout = target.options.get("script_timeout") or target.policy.agent_script_timeout_seconds
    named = {"volumes": volumes[False], "excluded": volumes[True], "script_timeout": timeout}
    return BackupTarget(
        backup=backup,
        kind=target.kind,
        resource_id=target.resource_id,
        resource_name=target.name,
        region=target.region,
        options={**target.options, **named},
    )


def _plan_group(group: Group) -> bool:
    try:
        aws = accounts.aws_of(group.backup.account, group.region)
        aws = aws.on_behalf_of(f"backup-{group.backup.pk}")
        ids = [target.resource_id for target in group.targets]
        found = {each.resource_id: each for each in group.driver.describe(aws, ids)}
        shared = sharing.look(aws, group.place, group.driver, _wishes(group, found))
    except Fault as fault:
        return _give_up_or_wait(group, fault)
    with transaction.atomic():
        # Nobody else may have planned it meanwhile.
        transitions.change(group.backup, due_at=group.backup.due_at)
        transitions.hold_targets(group.backup.policy_id)
        for target in group.targets:
            if target.resource_id not in found:
                _note_missing(group, target)
        sharing.lock(shared)
        _order(group, found, shared)
    alerts.resolve(group.account_cause)
    return True


def _wishes(group: Group, found: dict[str, Resource]) -> Iterator[Order]:
    """Whatever the targets' options ask for, as far as they make sense."""
    for target in group.targets:
        if target.resource_id in found:
            with suppress(OptionRefused):
                yield from _wanted(group, target, found[target.resource_id])


def _wanted(group: Group, target: BackupTarget, resource: Resource) -> Iterator[Order]:
    wanted: Any = options.make(group.driver.target_options, target.options)
    return group.driver.plan_snapshots(resource, wanted)


def _order(group: Group, found: dict[str, Resource], shared: sharing.Shared) -> None:
    ordered = []
    for target in group.targets:
        resource = found.get(target.resource_id)
        if resource is not None:
            target.facts, target.resource_name = resource.facts, resource.name
            wanted = _orders(group, target, resource)
            ordered.append((target, shared.take(target, wanted)))
        target.planned_at = clock.now()
    _refresh_policy(group, found)
    fields = ["facts", "resource_name", "planned_at", "error", "is_missing"]
    bulk.update(group.targets, fields)
    Snapshot.objects.bulk_create(shared.references, batch_size=500)
    orders.place_snapshots(
        group.place,
        group.backup,
        ordered,
        deadline_at=clock.now() + SNAPSHOT_DEADLINE,
    )


def _orders(group: Group, target: BackupTarget, resource: Resource) -> list[Order]:
    what: dict[str, Any] = {"kind": group.driver.label, "resource": target.resource_id}
    try:
        ordered = list(_wanted(group, target, resource))
    except OptionRefused as refusal:
        target.error = refusal.message
        events.log("target_refused", backup=group.backup, error=refusal.message, **what)
        return []
    if not ordered:
        events.log("target_empty", backup=group.backup, **what)
    return ordered


def _refresh_policy(group: Group, found: dict[str, Resource]) -> None:
    """Keep the policy's targets as they were last seen."""
    targets = Target.objects.filter(
        policy=group.backup.policy, kind=group.driver.kind, region=group.region
    )
    changed = []
    for target in targets.filter(resource_id__in=found):
        seen = found[target.resource_id]
        if (target.name, target.size_gib, target.is_missing) != (seen.name, seen.size_gib, False):
            target.name, target.size_gib, target.is_missing = seen.name, seen.size_gib, False
            changed.append(target)
    bulk.update(changed, ["name", "size_gib", "is_missing"])


def _note_missing(group: Group, target: BackupTarget) -> None:
    """Deal with a target that AWS does not know (any more) as the policy wants it."""
    target.is_missing = True
    policy = group.backup.policy
    if policy is None:
        return
    what = f"{group.driver.label} {target.resource_id}"
    its_target = policy.targets.filter(
        kind=target.kind, resource_id=target.resource_id, region=target.region
    )
    if policy.auto_remove_resource == AutoRemove.NO:
        target.error = "it does not exist any longer"
        its_target.update(is_missing=True)
        code, severity, fate = "target_missing", AlertSeverity.ERROR, "cannot be protected"
    else:
        its_target.delete()
        gone = f"{what} in {target.region}, which does not exist any longer"
        trail.record(policy.user, "delete target", [(policy.name, gone)])
        code, severity, fate = "target_removed", AlertSeverity.WARNING, "was taken out of it"
    events.log(
        code,
        backup=group.backup,
        kind=group.driver.label,
        resource=target.resource_id,
        region=target.region,
    )
    if policy.auto_remove_resource != AutoRemove.YES:
        alerts.raise_alert(
            missing_cause(policy.pk),
            user=policy.user,
            category=AlertCategory.BACKUP,
            severity=severity,
            title=f"Policy {policy.name} names resources that do not exist",
            message=f"{what} in {target.region} does not exist any longer and {fate}.",
            policy=policy,
        )


def _give_up_or_wait(group: Group, fault: Fault) -> bool:
    """The region could not be asked. Raises Overtaken."""
    age = clock.now() - group.backup.started_at
    may_pass = fault.worth_another_try or fault.kind is FaultKind.DENIED
    patience = DENIED_DEADLINE if fault.kind is FaultKind.DENIED else DEADLINE
    with transaction.atomic():
        if may_pass and age < patience:
            _log_once(group, "region_unreachable", fault)
            return False
        transitions.change(group.backup, due_at=group.backup.due_at)
        _log_once(group, "region_failed", fault)
        ids = [target.pk for target in group.targets]
        BackupTarget.objects.filter(pk__in=ids).update(error=str(fault), planned_at=clock.now())
        if fault.kind is FaultKind.DENIED:
            _alert_denied(group, fault)
        return True


def _log_once(group: Group, code: str, fault: Fault) -> None:
    told = Event.objects.filter(backup=group.backup, code=code, values__region=group.region)
    if not told.exists():
        events.log(code, backup=group.backup, region=group.region, error=str(fault))


def _alert_denied(group: Group, fault: Fault) -> None:
    alerts.raise_alert(
        group.account_cause,
        user=group.backup.user,
        category=AlertCategory.ACCOUNT,
        title=f"AWS denies access to account {group.backup.account_name}",
        message=str(fault),
    )
