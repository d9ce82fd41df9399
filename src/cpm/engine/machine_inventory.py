"""Looks for worker machines that AWS has and no row knows, and has them ended.

It goes with the inventory, but what it finds is nobody's data: a machine whose row is gone or
closed has nothing to do here, and costs money.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog

from cpm.engine import accounts, identity, jobs, machine_launch
from cpm.kernel import clock
from cpm.kernel.faults import Fault
from cpm.models.accounts import Account
from cpm.models.machines import MachinePhase, WorkerMachine
from cpm.models.operations import Operation
from cpm.models.workers import Worker
from cpm.resources import machines as in_aws
from cpm.resources.machines import Found

log = structlog.get_logger(__name__)


def start() -> None:
    """Have every account and region looked at in which there are, or were, machines."""
    places = {
        place
        for table in (Worker, WorkerMachine)
        for place in table.objects.values_list("account", "region").distinct()
    }
    jobs.defer_reaping(sorted(places))


@jobs.REAP_MACHINES.runs
def reap(account_id: int, region: str) -> None:
    """Have the machines of one place ended that are nobody's."""
    account = Account.objects.select_related("assume_from_account").filter(pk=account_id).first()
    if account is None:
        return
    try:
        aws = accounts.aws_of(account, region).on_behalf_of(f"machines-{account_id}")
        found = list(in_aws.owned(aws, identity.server_id()))
    except Fault as fault:
        log.warning("machines.not_listed", account=account.name, region=region, reason=str(fault))
        return
    for each in _unknown(found):
        log.warning("machine.found", instance=each.instance_id, region=region)
        now = clock.now()
        machine = WorkerMachine.objects.create(
            account=account,
            region=region,
            phase=MachinePhase.ENDING,
            instance_id=each.instance_id,
            error="no row knew of it",
            planned_at=now,
            deadline_at=now + machine_launch.LIFETIME,
            due_at=now,
        )
        jobs.defer_machines([machine.pk])


def _unknown(found: Sequence[Found]) -> list[Found]:
    """Those that no machine's row waits for; what a recovery has made is not one."""
    tokens = [each.token for each in found if _is_token(each.token)]
    at_work = WorkerMachine.objects.exclude(phase=MachinePhase.CLOSED)
    known = {str(token) for token in _tokens(at_work, tokens) | _tokens(Operation.objects, tokens)}
    being_ended = set(at_work.values_list("instance_id", flat=True))
    strangers = [each for each in found if each.token in tokens and each.token not in known]
    return [each for each in strangers if each.instance_id not in being_ended]


def _tokens(rows: Any, tokens: Sequence[str]) -> set[UUID]:
    return set(rows.filter(token__in=tokens).values_list("token", flat=True))


def _is_token(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
