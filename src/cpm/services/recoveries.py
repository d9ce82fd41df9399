"""Writes of recoveries: bringing something back, and forgetting the record of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from django.db import transaction
from django.db.models import QuerySet

from cpm.engine import recoveries as engine
from cpm.engine.deleted import archives
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupTarget
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.queries import recoveries, snapshots
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.resources.contract import Driver, Json, OptionRefused, SnapshotCollection
from cpm.resources.options import make
from cpm.services import access, audit, options, references
from cpm.services.access import Action
from cpm.services.errors import Conflict
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import choice, reference

_WHERE = (
    Field("region", references.region_name(), description="Where the snapshot is."),
    Field("account", reference(), description="Whose credentials are used."),
)
_BACKUP, _DR, _S3 = "backup", "dr", "s3"
_SOURCE = Field(
    "source",
    choice(_BACKUP, _DR, _S3),
    description="Which copy: the backup's own, or that of `region` and `account`.",
)


@cache
def fields_of(driver: Driver) -> Fields:
    """What may be asked of the recovery of something of this type."""
    source = (_SOURCE,) if driver.is_recovered_whole else ()
    return Fields((*_WHERE, *source, *options.fields(_options_of(driver))))


@dataclass(frozen=True, slots=True)
class _Source:
    """What is to be brought back, and from which snapshots."""

    driver: Driver
    backup: Backup
    resource_id: str
    resource_name: str | None
    facts: Json
    snapshots: Sequence[Snapshot]


def from_snapshot(
    backup_id: int,
    driver: Driver,
    collection: SnapshotCollection,
    snapshot_id: int,
    data: Mapping[str, object],
    *,
    actor: Person,
) -> Recovery:
    """Bring back the resource that a snapshot was made of.

    Raises `Forbidden`, `NotFound`, `Invalid` and `Fault`.
    """
    access.require(actor, Action.RECOVER)
    rows = snapshots.of_collection(actor, backup_id, collection.name)
    snapshot = one(rows.select_related("backup__user", "backup__policy", "account"), snapshot_id)
    resource = (snapshot.resource_id, snapshot.resource_name, snapshot.facts)
    given = fields_of(driver).read(data)
    return _start(_Source(driver, snapshot.backup, *resource, [snapshot]), given, actor)


def of_resource(
    backup_id: int, driver: Driver, target_id: int, data: Mapping[str, object], *, actor: Person
) -> Recovery:
    """Bring back a resource from all that a backup has of it.

    Raises `Forbidden`, `NotFound`, `Invalid` and `Fault`.
    """
    access.require(actor, Action.RECOVER)
    rows = snapshots.resources(actor, backup_id, driver)
    target = one(rows.select_related("backup__user", "backup__policy"), target_id)
    resource = (target.resource_id, target.resource_name, target.facts)
    given = fields_of(driver).read(data)
    parts = _parts(target, given)
    return _start(_Source(driver, target.backup, *resource, parts), given, actor)


@transaction.atomic
def delete(recovery_id: int, *, actor: Person) -> None:
    """Forget a recovery; what was recovered stays.

    Raises `Forbidden`, `NotFound`, and `Conflict` while it is under way.
    """
    access.require(actor, Action.RECOVER)
    rows = recoveries.visible_to(actor).select_for_update(of=("self",))
    recovery = one(rows, recovery_id)
    if recovery.phase != RecoveryPhase.CLOSED:
        raise Conflict("The recovery is under way.")
    subject = str(recovery)
    recovery.delete()
    audit.record(actor, "delete recovery", subject)


def _options_of(driver: Driver) -> type:
    if driver.recover_options is None:
        raise LookupError(f"{driver.kind} cannot be recovered")
    return driver.recover_options


def _parts(target: BackupTarget, given: Given) -> list[Snapshot]:
    """The snapshots of the copy that is asked for; notes problems where there is no such copy."""
    rows = Snapshot.objects.select_related("account").order_by("pk")
    chosen = given.get("source", _BACKUP)
    if chosen == _DR:
        copies = rows.filter(source_snapshot__target=target).exclude(collection__in=archives())
        return _copied_parts(copies, given)
    if chosen == _S3:
        given.refuse("source", "invalid", "There is no copy in S3.")
        return []
    return list(rows.filter(target=target, source_snapshot=None))


def _copied_parts(copies: QuerySet[Snapshot], given: Given) -> list[Snapshot]:
    """Those copies that are in the one place that is meant."""
    asked = {name: given[name] for name in ("region", "account") if name in given}
    parts = list(copies.filter(status=SnapshotStatus.SUCCEEDED, **asked))
    places = sorted({(part.region, part.account_name) for part in parts})
    if not places:
        given.refuse("source", "invalid", "There is no copy in another region or account.")
    elif len(places) > 1:
        listed = ", ".join(f"{region} of {account}" for region, account in places)
        field = "account" if "region" in asked else "region"
        given.refuse(field, "required", f"There are several copies: in {listed}.")
    return parts


def _start(source: _Source, given: Given, actor: Person) -> Recovery:
    wish = _wish(source, given)
    try:
        ordered = engine.plan(wish)
        with transaction.atomic():
            recovery = engine.start(wish, ordered)
            audit.record(actor, "recover", source.resource_id, str(source.backup))
    except OptionRefused as refusal:
        raise Invalid(Problem(refusal.code, refusal.message, refusal.field)) from None
    except engine.SnapshotGone as gone:
        raise Invalid(Problem("invalid", f"{gone} is being deleted.")) from None
    return recovery


def _wish(source: _Source, given: Given) -> engine.Wish:
    """What is asked for, checked as far as it can be without AWS. Raises `Invalid`."""
    asked = dict(given)
    good = [each for each in source.snapshots if each.status == SnapshotStatus.SUCCEEDED]
    account = _account(given, source)
    if not good and not given.problems:
        given.refuse("", "invalid", "There is no snapshot to recover from.")
    if account is None or given.problems:
        raise Invalid(*given.problems)
    return engine.Wish(
        driver=source.driver,
        backup=source.backup,
        resource_id=source.resource_id,
        resource_name=source.resource_name,
        facts=source.facts,
        snapshots=good,
        account=account,
        region=given.get("region", source.snapshots[0].region),
        options=make(_options_of(source.driver), given),
        asked=asked,
    )


def _account(given: Given, source: _Source) -> Account | None:
    """The account to work in: a named one of the owner's, or that which holds the snapshots."""
    named = given.get("account")
    if named is not None:
        account = Account.objects.filter(pk=named, user_id=source.backup.user_id).first()
        if account is None:
            references.refuse(given, "account", named)
        return account
    account = next((each.account for each in source.snapshots if each.account), None)
    if account is None and source.snapshots:
        message = "The account of the backup is not there any longer: name another."
        given.refuse("account", "required", message)
    return account
