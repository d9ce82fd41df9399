"""Copies in other places, one by one: planned by their drivers, and closed when all is over."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef

from cpm.aws.sessions import Aws
from cpm.engine import accounts, bulk, closing, dr_means, dr_sharing, events, orders, turns, undoing
from cpm.engine.copies import row_of
from cpm.engine.queue import Overtaken
from cpm.kernel import amounts, clock
from cpm.kernel.faults import Fault, FaultKind
from cpm.models.backups import Backup, CopyOutcome
from cpm.models.dr_copies import DrCopy, DrCopyPhase
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources import registry
from cpm.resources.contract import OptionRefused, Order, Where
from cpm.resources.copied import CopyWish

# Rights may be being changed just now.
DENIED_PATIENCE = timedelta(minutes=5)
_MOST_AT_ONCE = 500
# The account cannot be asked at all, so there is no use in asking for the next copy.
_AWAY = frozenset({FaultKind.THROTTLED, FaultKind.TRANSIENT, FaultKind.UNKNOWN})


@dataclass
class _Plans:
    """What the drivers have said about copies from one place."""

    ordered: list[tuple[DrCopy, list[Order]]] = field(default_factory=list)
    refused: list[tuple[DrCopy, str]] = field(default_factory=list)


def plan(backup: Backup) -> None:
    """Have made what can be; copies that cannot be planned now stay as they are."""
    planned = backup.dr_copies.filter(phase=DrCopyPhase.PLANNED).select_related(
        *("account__assume_from_account", "original__account__assume_from_account"),
        *("original__target", "original__backup"),
    )
    ordered = planned.order_by("original__account", "original__region", "pk")
    for _, copies in groupby(ordered, key=_source):
        waiting = list(copies)
        for start in range(0, len(waiting), _MOST_AT_ONCE):
            _plan(backup, waiting[start : start + _MOST_AT_ONCE])


@transaction.atomic
def settle(backup: Backup) -> None:
    """Close the copies that are over, and have taken back what is not to stay of their chains."""
    dr_means.lock()
    going_on = Operation.objects.filter(dr_copy=OuterRef("pk")).exclude(phase=OperationPhase.CLOSED)
    running = backup.dr_copies.filter(~Exists(going_on), phase=DrCopyPhase.RUNNING)
    # Read once: another copy may be over a moment later.
    over = sorted(running.select_related("original"), key=attrgetter("pk"))
    steps = Operation.objects.filter(dr_copy__in=over).order_by("dr_copy", "pk")
    by_copy = {pk: list(group) for pk, group in groupby(steps, key=lambda step: step.dr_copy_id)}
    in_use = dr_means.in_use(over)
    good = []
    for copy in over:
        chain = by_copy[copy.pk]
        if undoing.has_means(chain) and in_use.get(dr_means.key_of(copy)):
            continue  # others need what is shared, too
        if undoing.order(chain):
            continue
        if undoing.has_failed(chain):
            _fail(copy, chain)
        else:
            good.append(copy.pk)
    _close(good, outcome=CopyOutcome.SUCCEEDED)


def give_up(backup: Backup) -> None:
    """End what is not over yet; what is under way in AWS is undone as far as it is known."""
    error = "an error of the server, which its log describes"
    for copy in backup.dr_copies.exclude(phase=DrCopyPhase.CLOSED):
        for step in copy.operations.exclude(phase=OperationPhase.CLOSED).filter(undoes=None):
            step.refresh_from_db()
            if step.phase != OperationPhase.CLOSED:
                closing.fail(step, error)
        with suppress(KeyError):  # of another version of the product
            undoing.order(list(copy.operations.order_by("pk")))
        DrCopy.objects.filter(pk=copy.pk).update(
            phase=DrCopyPhase.CLOSED, outcome=CopyOutcome.FAILED, error=error
        )


@transaction.atomic
def ask_again() -> int:
    """Have once more taken back what AWS has refused to, unless it is needed; says how much."""
    dr_means.lock()
    steps = undoing.refused().exclude(dr_copy=None).select_related("dr_copy__original")
    copies = [step.dr_copy for step in steps if step.dr_copy is not None]
    in_use = dr_means.in_use(copies)
    going = [
        step
        for step in steps
        if step.dr_copy is not None and not in_use.get(dr_means.key_of(step.dr_copy))
    ]
    undoing.ask_again(going)
    return len(going)


def _source(copy: DrCopy) -> tuple[int | None, str]:
    return copy.original.account_id, copy.original.region


def _plan(backup: Backup, copies: Sequence[DrCopy]) -> None:
    """Plan copies from one place."""
    late = [copy for copy in copies if copy.deadline_at <= clock.now()]
    plans = _Plans(refused=[(copy, _why_late(copy)) for copy in late])
    shared = dr_sharing.Shared()
    try:
        shared = dr_sharing.look([copy for copy in copies if copy not in late])
    except Fault as fault:
        _note(copies, fault)
    _ask(backup, shared.to_make, plans)
    with transaction.atomic():
        dr_means.lock()
        going = dr_means.being_taken_back()
        _refer(shared.to_refer)
        _refuse(plans.refused)
        _begin(backup, [each for each in plans.ordered if dr_means.key_of(each[0]) not in going])


def _why_late(copy: DrCopy) -> str:
    return f"it could not be begun in time: {copy.error or 'the server did not come to it'}"


def _ask(backup: Backup, copies: Iterable[DrCopy], plans: _Plans) -> None:
    """Ask the drivers how copies from one place are made, as long as AWS answers."""
    aws: Aws | None = None
    for copy in copies:
        try:
            aws = aws or _aws_of_source(copy)
            plans.ordered.append((copy, _orders(copy, aws)))
        except OptionRefused as refusal:
            plans.refused.append((copy, refusal.message))
        except Fault as fault:
            if _is_final(backup, fault):
                plans.refused.append((copy, str(fault)))
            else:
                _note([copy], fault)
            if fault.kind in _AWAY:
                return


def _aws_of_source(copy: DrCopy) -> Aws:
    """Where the originals of the copies are; raises Fault."""
    aws = accounts.aws_of(copy.original.account, copy.original.region)
    return aws.on_behalf_of(f"dr-{copy.backup_id}")


def _orders(copy: DrCopy, aws: Aws) -> list[Order]:
    """The steps of one copy; raises OptionRefused and Fault."""
    original, target = copy.original, copy.account
    source = original.account
    driver = registry.driver(original.kind)
    if source is None or target is None or driver.plan_copy is None:
        raise Fault(FaultKind.INVALID, "the account was deleted from the server")
    wish = CopyWish(
        original=orders.copied_of(original),
        source_account=accounts.number_of(source),
        source_region=original.region,
        target_account=accounts.number_of(target),
        target_region=copy.region,
        sharing_key=copy.sharing_key,
    )
    return driver.plan_copy(aws, wish)


def _is_final(backup: Backup, fault: Fault) -> bool:
    if fault.kind is FaultKind.DENIED:
        return clock.now() >= (backup.finished_at or clock.now()) + DENIED_PATIENCE
    return not fault.worth_another_try


def _note(copies: Iterable[DrCopy], fault: Fault) -> None:
    """Remember why copies could not be planned, for when that lasts until the deadline."""
    ids = [copy.pk for copy in copies]
    DrCopy.objects.filter(pk__in=ids, phase=DrCopyPhase.PLANNED).update(error=str(fault))


def _begin(backup: Backup, ordered: Sequence[tuple[DrCopy, list[Order]]]) -> None:
    """Store and set going what makes the copies. Where there is nothing to do, none was wanted."""
    void = [copy.pk for copy, its_orders in ordered if not its_orders]
    DrCopy.objects.filter(pk__in=void, phase=DrCopyPhase.PLANNED).delete()
    copies = [copy for copy, its_orders in ordered if its_orders]
    _leave_planned([copy.pk for copy in copies], phase=DrCopyPhase.RUNNING, error="")
    operations: list[Operation] = []
    for copy, its_orders in ordered:
        operations += _chain(copy, its_orders)
    made = [copy for copy in copies if copy.snapshot is not None]
    orders.store(operations, [copy.snapshot for copy in made if copy.snapshot is not None])
    for copy in made:
        copy.snapshot = copy.snapshot  # it has an id only now
    bulk.update(made, ["snapshot"])
    _tell_of_queues(backup, operations)


def _chain(copy: DrCopy, ordered: Sequence[Order]) -> Iterator[Operation]:
    original = copy.original
    source = orders.Place(original.kind, original.account, original.region)
    places = {
        Where.SOURCE: source,
        Where.TARGET: orders.Place(original.kind, copy.account, copy.region),
        Where.BETWEEN: orders.Place(original.kind, copy.account, original.region),
    }
    for operation, order in orders.chain(places, ordered, original.resource_id, copy.deadline_at):
        operation.backup, operation.dr_copy = original.backup, copy
        for part in order.parts:
            facts = dr_sharing.without_ownership(part.facts)
            copy.snapshot = _row(copy, operation=operation, facts=facts)
        yield operation


def _row(copy: DrCopy, **columns: Any) -> Snapshot:
    original = copy.original
    _, collection = registry.by_snapshot_collection(original.collection)
    facts = {"facts": dr_sharing.without_ownership(original.facts)}
    return row_of(original, collection.copied_as, copy.account, copy.region, **(facts | columns))


def _refer(referring: Iterable[tuple[DrCopy, Snapshot]]) -> None:
    """Let records refer to copies that are there already."""
    for copy, existing in referring:
        if not dr_sharing.still_there(existing):
            continue
        copy.snapshot = _row(
            copy,
            aws_ref=existing.aws_ref,
            facts=existing.facts,
            status=SnapshotStatus.SUCCEEDED,
            progress_percent=100,
            started_at=existing.started_at,
            finished_at=existing.finished_at,
        )
        copy.snapshot.save(force_insert=True)
        changes = {"snapshot": copy.snapshot, "outcome": CopyOutcome.SUCCEEDED}
        _leave_planned([copy.pk], phase=DrCopyPhase.CLOSED, error="", **changes)


def _refuse(refused: Iterable[tuple[DrCopy, str]]) -> None:
    """Close copies that are not even begun; their rows tell why."""
    for copy, error in refused:
        changes: dict[str, Any] = {"outcome": CopyOutcome.FAILED, "error": error}
        row = _row(copy, status=SnapshotStatus.FAILED, error=error, finished_at=clock.now())
        if row.collection:
            row.save(force_insert=True)
            changes["snapshot"] = row
        _leave_planned([copy.pk], phase=DrCopyPhase.CLOSED, **changes)
        _tell_of_failure("copy_failed", copy, error)


def _leave_planned(ids: Sequence[int], **changes: Any) -> None:
    planned = DrCopy.objects.filter(pk__in=ids, phase=DrCopyPhase.PLANNED)
    if planned.update(**changes) != len(ids):
        raise Overtaken("one of the copies is not to be planned any longer")


def _close(ids: Sequence[int], **changes: Any) -> None:
    running = DrCopy.objects.filter(pk__in=ids, phase=DrCopyPhase.RUNNING)
    if running.update(phase=DrCopyPhase.CLOSED, **changes) != len(ids):
        raise Overtaken("one of the copies is not under way any longer")


@transaction.atomic
def _fail(copy: DrCopy, chain: Sequence[Operation]) -> None:
    """Say why there is no copy. What could not be taken back stays in its row, to be deleted."""
    cause = next(
        step for step in chain if step.undoes_id is None and step.outcome == OperationOutcome.FAILED
    )
    _close([copy.pk], outcome=CopyOutcome.FAILED, error=cause.error)
    changes = {} if undoing.left_behind(chain) else {"aws_ref": ""}
    Snapshot.objects.filter(dr_copy=copy.pk).update(
        status=SnapshotStatus.FAILED, error=cause.error, finished_at=clock.now(), **changes
    )
    is_late = cause.finished_at is not None and cause.finished_at >= copy.deadline_at
    _tell_of_failure("copy_abandoned" if is_late else "copy_failed", copy, cause.error)


def _tell_of_failure(code: str, copy: DrCopy, error: str) -> None:
    events.log(
        code,
        backup=copy.original.backup,
        snapshot=copy.original.aws_ref,
        resource=copy.original.resource_id,
        region=copy.region,
        error=error,
    )


def _tell_of_queues(backup: Backup, operations: Iterable[Operation]) -> None:
    """Say how many copies wait for their turn, and for how long that may be."""
    for queue in sorted(turns.queues_of(operations), key=str):
        waiting = queue.waiting()
        if waiting:
            seconds = queue.seconds(waiting)
            events.log(
                "copies_queued",
                backup=backup,
                waiting=waiting,
                region=queue.region,
                most=queue.most,
                estimate=amounts.wait(seconds),
            )
