"""Writes of recoveries: bringing something back, and forgetting the record of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from django.db import transaction
from django.db.models import Q, QuerySet

from cpm.engine import archived
from cpm.engine import recoveries as engine
from cpm.engine.archived import Hopeless
from cpm.engine.deleted import archives, shared_collections
from cpm.engine.wishes import Wish, home_of, is_archived
from cpm.kernel.invalid import Invalid, Problem
from cpm.models.accounts import Account
from cpm.models.backups import Backup, BackupTarget
from cpm.models.recoveries import Recovery, RecoveryPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.queries import recoveries, snapshots
from cpm.queries.errors import one
from cpm.queries.people import Person
from cpm.resources import restored_snapshots
from cpm.resources.contract import Driver, Json, OptionRefused, SnapshotCollection
from cpm.resources.options import make
from cpm.services import access, audit, options, references
from cpm.services.access import Action
from cpm.services.errors import Conflict
from cpm.services.fields import Field, Fields
from cpm.services.given import Given
from cpm.services.kinds import boolean, choice, reference

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


_FROM_S3 = (
    Field(
        "keep_snapshots",
        boolean(),
        description="From S3: leave the EBS snapshots there that it is made of.",
    ),
    Field(
        "allow_damaged",
        boolean(),
        description="From S3: go on without blocks that are damaged, which are zeros then.",
    ),
)
# What a recovery needs to know of copies in S3.
_OF_COPIES = ("s3_copy__repository__account__assume_from_account",)
_AS_SNAPSHOT, _AS_VOLUME = "S", "V"
_FROM_COPY = (
    Field("region", references.region_name(), description="Where to; else the original's."),
    Field("account", reference(), description="Into which account; else the original's."),
    Field(
        "recover_as",
        choice(_AS_SNAPSHOT, _AS_VOLUME),
        description="An EBS snapshot (`S`) or a volume (`V`), which is usual.",
    ),
    *_FROM_S3,
)
_OF_SNAPSHOTS = frozenset((*(field.name for field in _FROM_COPY), *restored_snapshots.OPTIONS))


@cache
def fields_of(driver: Driver) -> Fields:
    """What may be asked of the recovery of something of this type."""
    source = (_SOURCE, *_FROM_S3) if driver.is_recovered_whole else ()
    return Fields((*_WHERE, *source, *options.fields(_options_of(driver))))


@cache
def fields_of_snapshot(driver: Driver, collection: SnapshotCollection) -> Fields:
    """What may be asked of the recovery of a snapshot of this type, or of a copy in S3 of it."""
    if collection.is_archive:
        return Fields((*_FROM_COPY, *options.fields(_options_of(driver))))
    return fields_of(driver)


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
    """Bring back the resource that a snapshot was made of; a copy in S3 as a snapshot, if wanted.

    Raises `Forbidden`, `NotFound`, `Invalid` and `Fault`.
    """
    access.require(actor, Action.RECOVER)
    rows = snapshots.of_collection(actor, backup_id, collection.name)
    related = ("account", "backup__user", "backup__policy", "backup__account")
    of_copies = _OF_COPIES if collection.is_archive else ()
    snapshot = one(rows.select_related(*related, *of_copies), snapshot_id)
    resource = (snapshot.resource_id, snapshot.resource_name, snapshot.facts)
    given = fields_of_snapshot(driver, collection).read(data)
    if given.get("recover_as") == _AS_SNAPSHOT:
        for name in sorted(given.keys() - _OF_SNAPSHOTS):
            given.refuse(name, "invalid", "A snapshot has nothing of the sort.")
    return _start(_Source(driver, snapshot.backup, *resource, [snapshot]), given, actor)


def of_resource(
    backup_id: int, driver: Driver, target_id: int, data: Mapping[str, object], *, actor: Person
) -> Recovery:
    """Bring back a resource from all that a backup has of it.

    Raises `Forbidden`, `NotFound`, `Invalid` and `Fault`.
    """
    access.require(actor, Action.RECOVER)
    rows = snapshots.resources(actor, backup_id, driver)
    target = one(
        rows.select_related("backup__user", "backup__policy", "backup__account"), target_id
    )
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
    if chosen == _S3:
        return _archived_parts(rows, target, given)
    rows = rows.exclude(collection__in=archives())
    for field in _FROM_S3:
        if field.name in given:
            given.refuse(field.name, "invalid", "It is not recovered from S3.")
    if chosen == _DR:
        return _copied_parts(rows.filter(source_snapshot__target=target), given)
    return list(rows.filter(target=target, source_snapshot=None))


def _archived_parts(rows: QuerySet[Snapshot], target: BackupTarget, given: Given) -> list[Snapshot]:
    """The newest copy in S3 of each of its volumes, and an image to launch, if one is there."""
    archived = rows.filter(
        collection__in=archives(),
        target=target,
        status=SnapshotStatus.SUCCEEDED,
        delete_requested_at=None,
    ).select_related(*_OF_COPIES)
    newest = {snapshot.resource_id: snapshot for snapshot in archived}
    if not newest:
        given.refuse("source", "invalid", "There is no copy in S3.")
        return []
    first = next(iter(newest.values()))
    images = rows.filter(
        Q(target=target) | Q(source_snapshot__target=target),
        collection__in=shared_collections(),
        status=SnapshotStatus.SUCCEEDED,
        region=given.get("region", home_of(first)),
        account=given.get("account", target.backup.account_id),
    )
    return [*newest.values(), *images]


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
        start = _planned(wish)
        with transaction.atomic():
            recovery = start()
            audit.record(actor, "recover", source.resource_id, str(source.backup))
    except OptionRefused as refusal:
        raise Invalid(Problem(refusal.code, refusal.message, refusal.field)) from None
    except engine.SnapshotGone as gone:
        raise Invalid(Problem("invalid", f"{gone} is being deleted.")) from None
    except Hopeless as reason:
        raise Invalid(Problem("invalid", str(reason))) from None
    return recovery


def _planned(wish: Wish) -> Callable[[], Recovery]:
    """What starts the recovery, once it is known how it can go."""
    if wish.is_from_s3:
        return partial(engine.start_from_s3, wish, archived.plan(wish))
    return partial(engine.start, wish, engine.plan(wish))


def _wish(source: _Source, given: Given) -> Wish:
    """What is asked for, checked as far as it can be without AWS. Raises `Invalid`."""
    asked = dict(given)
    good = [each for each in source.snapshots if each.status == SnapshotStatus.SUCCEEDED]
    account = _account(given, source)
    if not good and not given.problems:
        given.refuse("", "invalid", "There is no snapshot to recover from.")
    if account is None or given.problems:
        raise Invalid(*given.problems)
    return Wish(
        driver=source.driver,
        backup=source.backup,
        resource_id=source.resource_id,
        resource_name=source.resource_name,
        facts=source.facts,
        snapshots=good,
        account=account,
        region=given.get("region", home_of(source.snapshots[0])),
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
    if any(map(is_archived, source.snapshots)):
        account = source.backup.account
    else:
        account = next((each.account for each in source.snapshots if each.account), None)
    if account is None and source.snapshots:
        message = "The account of the backup is not there any longer: name another."
        given.refuse("account", "required", message)
    return account
