"""Turns: what AWS works on a few at a time waits for its turn without being asked for.

An operation of such an effect is stored as waiting. It is called up as soon as there is room: at
once, or when one of those before it is over. Whoever counts holds a lock until the transaction
ends, so that no two count the same room.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Avg, F, QuerySet

from cpm.engine import jobs
from cpm.engine.effects import effect_of
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.resources import registry

# Who waits is called up by whoever makes room; this is when he looks whether he was forgotten.
FORGOTTEN = timedelta(minutes=15)
# How many of the last ones tell how long one takes.
_TYPICAL = 50

_OPEN = """\
cpm_operation WHERE account_id = ANY(%(accounts)s) AND region = %(region)s AND kind = %(kind)s
    AND effect = ANY(%(effects)s) AND undoes_id IS NULL AND phase <> %(closed)s"""
# Each step of each copy ends with this, and the ORM needs three statements for it.
_BEGIN = f"""\
UPDATE cpm_operation SET waits_for_turn = false, due_at = %(now)s, version = version + 1
WHERE id IN (
    SELECT id FROM {_OPEN} AND waits_for_turn
    AND NOT EXISTS (
        SELECT FROM cpm_operation AS before
        WHERE before.id = cpm_operation.after_id AND before.phase <> %(closed)s
    )
    ORDER BY id
    LIMIT greatest(0, %(most)s - (SELECT count(*) FROM {_OPEN} AND NOT waits_for_turn))
)
RETURNING id, recovery_id, dr_copy_id, snapshot_id"""  # noqa: S608 - constants of this module


@dataclass(frozen=True, slots=True)
class Queue:
    """Operations on one call of AWS in one account and region, so many of them at a time.

    Accounts are AWS's: several of the server's rows may open the same one.
    """

    account_number: str
    region: str
    kind: str
    call: str
    most: int

    @classmethod
    def of(cls, operation: Operation) -> "Queue | None":
        """The queue of an operation; None where any number may be under way."""
        try:
            effect = effect_of(operation)
        except KeyError:
            return None  # of another version of the product
        if not effect.most_at_once or operation.undoes_id or operation.account is None:
            return None
        number = _number_of(operation.account)
        return cls(number, operation.region, operation.kind, effect.operation, effect.most_at_once)

    @property
    def operations(self) -> QuerySet[Operation]:
        """All that ever belonged to it."""
        return Operation.objects.filter(
            account__in=self._accounts(),
            region=self.region,
            kind=self.kind,
            effect__in=self._effects(),
            undoes=None,
        )

    @property
    def open(self) -> QuerySet[Operation]:
        """Those of them that are not over."""
        return self.operations.exclude(phase=OperationPhase.CLOSED)

    def waiting(self) -> int:
        """How many wait for their turn."""
        return self.open.filter(waits_for_turn=True).count()

    def seconds(self, waiting: int) -> float | None:
        """How long the last of so many will wait, by how long the latest have taken."""
        good = self.operations.filter(outcome=OperationOutcome.SUCCEEDED).order_by("-pk")
        took = Operation.objects.filter(pk__in=good.values("pk")[:_TYPICAL])
        typical = took.aggregate(typical=Avg(F("finished_at") - F("started_at")))["typical"]
        if not typical:
            return None
        return math.ceil(waiting / self.most) * float(typical.total_seconds())

    def begin(self) -> list[Operation]:
        """Let as many begin as there is room for; whoever calls holds the lock of the queue."""
        values = {
            "accounts": self._accounts(),
            "region": self.region,
            "kind": self.kind,
            "effects": self._effects(),
            "most": self.most,
            "closed": OperationPhase.CLOSED.value,
            "now": clock.now(),
        }
        return list(Operation.objects.raw(_BEGIN, values))

    def _accounts(self) -> list[int]:
        accounts = Account.objects.only("aws_account_number", "account_number")
        return [each.pk for each in accounts if _number_of(each) == self.account_number]

    def _effects(self) -> list[str]:
        effects = registry.driver(self.kind).effects
        return [each.name for each in effects if each.operation == self.call]


def take_numbers(operations: Iterable[Operation]) -> None:
    """Let those of the operations wait that have to; they are not stored yet."""
    for operation in operations:
        if effect_of(operation).most_at_once and not operation.undoes_id:
            operation.waits_for_turn = True
            operation.due_at = min(clock.now() + FORGOTTEN, operation.deadline_at)


def queues_of(operations: Iterable[Operation]) -> set[Queue]:
    """The queues of those of the operations that have one."""
    return {queue for queue in map(Queue.of, operations) if queue is not None}


@transaction.atomic
def call_up(queues: Iterable[Queue]) -> None:
    """Let as many begin as there is room for, the oldest first."""
    for queue in sorted(queues, key=str):
        _lock(queue)
        jobs.defer_operations(queue.begin())


def _number_of(account: Account) -> str:
    """What AWS tells the account by; one whose number is not known yet is by itself."""
    return account.aws_account_number or account.account_number or f"row {account.pk}"


def _lock(queue: Queue) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [str(queue)])
