"""Writes of policies and of their options."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from cpm.engine import alerts, tick
from cpm.kernel import clock, names
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupPhase
from cpm.models.policies import AutoRemove, Policy, PolicySchedule, SuccessIndication
from cpm.models.schedules import Schedule
from cpm.queries import policies
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.services import access, audit, references, unique
from cpm.services.access import Action
from cpm.services.errors import Conflict
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import array, boolean, choice, integer, reference, text

FIELDS = Fields(
    (
        Field("name", text(names.name), required=True),
        Field("description", text(names.description, blank=True), nullable=True),
        Field("user", reference(), fixed=True),
        Field("account", reference(), required=True, fixed=True),
        Field("enabled", boolean()),
        Field("generations", integer(1, 9999)),
        Field("schedules", array(reference())),
        Field("auto_remove_resource", choice(*AutoRemove)),
    )
)
OPTIONS = Fields(
    (
        Field("enable_agent_scripts", boolean()),
        Field("agent_script_timeout", integer(1, 86400)),
        Field("collect_script_output", boolean()),
        Field("backup_success_indication", choice(*SuccessIndication)),
        Field("retry_count", integer(0, 10)),
        Field("retry_wait_minutes", integer(0, 1440)),
        Field("alert_after_failures", integer(1, 100)),
    )
)

_COLUMNS = {"account": "account_id", "agent_script_timeout": "agent_script_timeout_seconds"}
_WHEN_IT_RUNS = frozenset({"enabled", "schedules"})
# What stands in other columns, or in other tables.
_APART = frozenset({"user", "schedules"})


@transaction.atomic
def create(data: Mapping[str, object], *, actor: Person) -> Policy:
    """Make a policy. Raises `Forbidden` and `Invalid`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    given = FIELDS.read(data)
    policy = Policy(user_id=access.choose_owner(given, actor), modified_at=clock.now())
    own = Account.objects.filter(user_id=policy.user_id, is_dr_account=False)
    references.refuse_foreign_account(given, own)
    _check(given, policy)
    for column, value in _columns(given).items():
        setattr(policy, column, value)
    with unique.kept_by("policy_name_unique", "name"):
        policy.save(force_insert=True)
    _link(policy, given.get("schedules", []))
    tick.arm_policy(policy.pk)
    audit.record(actor, "create policy", policy.name)
    return policy


@transaction.atomic
def update(policy_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Change what `data` holds. Raises `Forbidden`, `NotFound` and `Invalid`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    policy = _locked(policy_id, actor)
    given = FIELDS.read(data, partial=True)
    _check(given, policy)
    with unique.kept_by("policy_name_unique", "name"):
        _change(policy, _columns(given))
    if "schedules" in given:
        _link(policy, given["schedules"])
    if not _WHEN_IT_RUNS.isdisjoint(given):
        tick.arm_policy(policy.pk)
    audit.record(actor, "update policy", policy.name, ", ".join(given))


@transaction.atomic
def update_options(policy_id: int, data: Mapping[str, object], *, actor: Person) -> None:
    """Change how runs behave. Raises `Forbidden`, `NotFound` and `Invalid`."""
    access.require(actor, Action.CHANGE_BACKUPS)
    policy = _locked(policy_id, actor)
    given = OPTIONS.read(data, partial=True)
    given.check()
    _change(policy, _columns(given))
    audit.record(actor, "update policy options", policy.name, ", ".join(given))


@transaction.atomic
def delete(policy_id: int, *, actor: Person) -> None:
    """Forget a policy and its targets; its snapshots and records stay.

    Raises `Forbidden`, `NotFound`, and `Conflict` while it runs.
    """
    access.require(actor, Action.CHANGE_BACKUPS)
    # Whoever runs a policy on schedule begins with its links.
    list(PolicySchedule.objects.filter(policy=policy_id).select_for_update(of=("self",)))
    policy = _locked(policy_id, actor)
    if Backup.objects.filter(policy=policy).exclude(phase=BackupPhase.CLOSED).exists():
        raise Conflict("A backup of this policy is under way.")
    name = policy.name
    alerts.resolve_about(f"policy:{policy.pk}")
    policy.delete()
    audit.record(actor, "delete policy", name)


def _locked(policy_id: int, actor: Person) -> Policy:
    rows = policies.visible_to(actor).select_for_update(of=("self",), no_key=True)
    return one(rows, policy_id)


def _check(given: Given, policy: Policy) -> None:
    """Raise `Invalid` unless what is given fits what is there."""
    _refuse_foreign_schedules(given, policy)
    siblings = Policy.objects.filter(user_id=policy.user_id).exclude(pk=policy.pk)
    unique.refuse_taken(given, "name", siblings)
    given.check()


def _refuse_foreign_schedules(given: Given, policy: Policy) -> None:
    """Schedules are the owner's own, locked here against being deleted."""
    wanted = set(given.get("schedules", ()))
    own = Schedule.objects.filter(user_id=policy.user_id, pk__in=wanted).order_by("pk")
    found = set(own.select_for_update(no_key=True).values_list("pk", flat=True))
    for missing in sorted(wanted - found):
        references.refuse(given, "schedules", missing)


def _link(policy: Policy, schedule_ids: list[int]) -> None:
    """Let the policy run by these schedules and no others."""
    policy.links.exclude(schedule_id__in=schedule_ids).delete()
    links = (PolicySchedule(policy=policy, schedule_id=each) for each in schedule_ids)
    PolicySchedule.objects.bulk_create(links, ignore_conflicts=True)


def _change(policy: Policy, columns: dict[str, Any]) -> None:
    Policy.objects.filter(pk=policy.pk).update(**columns, modified_at=clock.now())


def _columns(given: Given) -> dict[str, Any]:
    """What is given, by column."""
    return {_COLUMNS.get(name, name): value for name, value in given.items() if name not in _APART}
