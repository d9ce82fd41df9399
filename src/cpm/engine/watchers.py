"""Watches what AWS works on: all of one account, region and watch in as few calls as it takes.

A poll that fails decides nothing, and "does not exist" is believed only after the settle time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from cpm.engine import accounts, bulk, closing, events, jobs, transitions
from cpm.engine.queue import DATABASE_TROUBLE, Overtaken
from cpm.kernel import clock
from cpm.kernel.faults import Fault
from cpm.models.operations import Operation, OperationPhase
from cpm.models.snapshots import Snapshot, SnapshotStatus
from cpm.resources import registry
from cpm.resources.contract import State, Verdict, Watch

log = structlog.get_logger(__name__)

# What takes long is looked at less often: each wait is this part of the time that it has taken.
PATIENCE = 0.1
LONGEST_WAIT_SECONDS = 60.0
_DECIDED = frozenset({State.DONE, State.FAILED, State.GONE})
_ENDED_BADLY = frozenset({State.FAILED, State.GONE})

Verdicts = Mapping[str, Verdict]


@dataclass(frozen=True)
class Seen:
    """An operation and what AWS says of each of its refs."""

    operation: Operation
    verdicts: Verdicts

    @property
    def is_decided(self) -> bool:
        """Whether nothing more is to be expected."""
        return all(verdict.state in _DECIDED for verdict in self.verdicts.values())

    @property
    def has_succeeded(self) -> bool:
        """Whether AWS has done all of it."""
        return self.is_decided and not self.failure

    @property
    def failure(self) -> str:
        """Why it has failed; empty when all went well."""
        bad = (ref for ref, verdict in self.verdicts.items() if verdict.state in _ENDED_BADLY)
        return "; ".join(f"{ref}: {reason(self.verdicts[ref])}" for ref in bad)

    @property
    def percent(self) -> int:
        """How far it is, over all its refs."""
        return sum(verdict.percent for verdict in self.verdicts.values()) // len(self.verdicts)


@jobs.WATCH.runs
def look(account_id: int | None, region: str, watch_name: str) -> None:
    """Ask AWS once about every started operation of the group that is due, or nearly."""
    _look_at(_due(account_id, region, watch_name), watch_name)


@jobs.WATCH.gives_up
def give_up(account_id: int | None, region: str, watch_name: str) -> None:
    """Close those operations of the group at which our own code fails again and again."""
    _single_out(_due(account_id, region, watch_name), watch_name)


def reason(verdict: Verdict) -> str:
    """Why AWS could not do it, in its words if it has any."""
    if verdict.state is State.GONE:
        return verdict.reason or "it does not exist any longer"
    return verdict.reason or "AWS reports an error"


def _due(account_id: int | None, region: str, watch_name: str) -> Sequence[Operation]:
    """The operations to look at; those that would be due in a moment come along."""
    soon = clock.now() + timedelta(seconds=settings.ENVIRONMENT.poll_seconds)
    started = Operation.objects.filter(
        account=account_id, region=region, watch=watch_name, phase=OperationPhase.STARTED
    )
    # Those who need their records or what they undo read these: most do not.
    near = started.filter(due_at__lte=soon).select_related("account__assume_from_account")
    operations = sorted(near, key=attrgetter("pk"))
    now = clock.now()
    return operations if any(each.due_at and each.due_at <= now for each in operations) else ()


def _look_at(operations: Iterable[Operation], watch_name: str) -> None:
    watch = registry.watch(watch_name)
    for batch in _batches(operations, watch.batch):
        try:
            verdicts = _poll(watch, batch)
        except Fault as fault:
            region = batch[0].region
            log.warning("watch.failed", watch=watch_name, region=region, fault=str(fault))
            _look_later(batch, fault)
        else:
            _write(batch, verdicts)


def _single_out(suspects: Sequence[Operation], watch_name: str) -> None:
    """Look at ever fewer operations together, so that one which spoils it spoils no other."""
    try:
        _look_at(suspects, watch_name)
    except (Overtaken, *DATABASE_TROUBLE):
        raise
    except Exception:
        log.exception("watch.broken", operations=[operation.pk for operation in suspects])
        middle = len(suspects) // 2
        if not middle:
            _close_as_broken(suspects)
            return
        _single_out(suspects[:middle], watch_name)
        _single_out(suspects[middle:], watch_name)


def _close_as_broken(batch: Sequence[Operation]) -> None:
    with transaction.atomic():
        for operation in transitions.hold(batch):
            closing.fail(operation, "an error of the server, which its log describes")


def _batches(operations: Iterable[Operation], most_refs: int) -> Iterator[list[Operation]]:
    """The operations in groups whose refs fit into one call."""
    batch: list[Operation] = []
    refs = 0
    for operation in operations:
        if batch and refs + len(operation.refs) > most_refs:
            yield batch
            batch, refs = [], 0
        batch.append(operation)
        refs += len(operation.refs)
    if batch:
        yield batch


def _poll(watch: Watch, batch: Sequence[Operation]) -> Verdicts:
    aws = accounts.aws_of(batch[0].account, batch[0].region).on_behalf_of(f"watch-{watch.name}")
    refs = [ref for operation in batch for ref in operation.refs.values()]
    return watch.poll(aws, list(dict.fromkeys(refs)))


def _write(batch: Sequence[Operation], verdicts: Verdicts) -> None:
    with transaction.atomic():
        seen = [_seen(operation, verdicts) for operation in transitions.hold(batch)]
        _write_snapshots(seen)
        _log_outputs(seen)
        closing.succeed_all([each.operation for each in seen if each.has_succeeded])
        for each in seen:
            if each.is_decided and each.failure:
                closing.fail(each.operation, each.failure)
        _write_progress([each for each in seen if not each.is_decided])


def _seen(operation: Operation, verdicts: Verdicts) -> Seen:
    """The verdicts on one operation; what AWS may merely not list yet is not gone."""
    settle = timedelta(seconds=settings.ENVIRONMENT.settle_seconds)
    is_young = clock.now() < (operation.started_at or clock.now()) + settle
    own = {ref: verdicts.get(ref, Verdict(State.UNKNOWN)) for ref in operation.refs.values()}
    if is_young:
        own = {
            ref: Verdict(State.UNKNOWN) if verdict.state is State.GONE else verdict
            for ref, verdict in own.items()
        }
    return Seen(operation, own)


def _log_outputs(seen: Iterable[Seen]) -> None:
    """What programs have written, for policies that collect it."""
    for each in seen:
        output = "".join(verdict.output for verdict in each.verdicts.values())
        if not output or not each.is_decided:
            continue
        backup = each.operation.backup
        if backup and backup.policy and backup.policy.collect_script_output:
            events.log(
                "step_output",
                backup=backup,
                effect=each.operation.effect,
                resource=each.operation.resource_id,
                output=output.replace("\0", "\N{REPLACEMENT CHARACTER}"),
            )


def _write_progress(pending: Iterable[Seen]) -> None:
    for each in pending:
        each.operation.progress_percent = each.percent
    _wait(each.operation for each in pending)


def _look_later(batch: Sequence[Operation], fault: Fault) -> None:
    """The poll failed, which says nothing of what was to be seen."""
    with transaction.atomic():
        _wait(transitions.hold(batch), f" ({fault})")


def _wait(operations: Iterable[Operation], because: str = "") -> None:
    """Look again later, where the deadline allows; the rows are locked."""
    waiting = []
    for operation in operations:
        if operation.account_id is None:
            closing.fail(operation, "the account was deleted from the server")
        elif operation.deadline_at <= clock.now():
            closing.fail(operation, f"AWS has not finished it in time{because}")
        else:
            operation.due_at = _next_look(operation)
            waiting.append(operation)
    bulk.update(waiting, ["progress_percent", "due_at"])


def _next_look(operation: Operation) -> datetime:
    shortest = settings.ENVIRONMENT.poll_seconds
    age_seconds = (clock.now() - (operation.started_at or clock.now())).total_seconds()
    wait_seconds = max(shortest, min(age_seconds * PATIENCE, LONGEST_WAIT_SECONDS))
    return clock.now() + timedelta(seconds=wait_seconds)


def _write_snapshots(seen: Iterable[Seen]) -> None:
    by_operation = {each.operation.pk: each.verdicts for each in seen}
    rows = Snapshot.objects.filter(
        operation__in=by_operation, status=SnapshotStatus.IN_PROGRESS
    ).exclude(aws_ref="")
    changed = [row for row in rows if learn(row, by_operation[row.operation_id or 0])]
    bulk.update(changed, LEARNT)


LEARNT = [
    "status",
    "progress_percent",
    "size_gib",
    "encrypted",
    "facts",
    "error",
    "finished_at",
]


def learn(row: Snapshot, verdicts: Verdicts) -> bool:
    """Put what AWS says into the row, into the columns of `LEARNT`; False when nothing is new."""
    verdict = verdicts.get(row.aws_ref)
    if verdict is None or verdict.state is State.UNKNOWN:
        return False
    if verdict.state is State.PENDING:
        is_news = row.progress_percent != verdict.percent
        row.progress_percent = verdict.percent
        return is_news
    facts: dict[str, Any] = dict(verdict.facts)
    row.finished_at = _time(facts.pop("finished_at", None))
    row.size_gib = facts.pop("size_gib", row.size_gib)
    row.encrypted = facts.pop("encrypted", row.encrypted)
    row.facts = {**row.facts, **facts}
    if verdict.state is State.DONE:
        row.status, row.progress_percent = SnapshotStatus.SUCCEEDED, 100
    else:
        row.status, row.error = SnapshotStatus.FAILED, reason(verdict)
    return True


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else clock.now()
