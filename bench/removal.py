"""Deleting a user with many records, beside deleting all of it in one transaction.

    python -m bench.removal [--rows N] [--quick]

What counts is how long whoever asks has to wait, and how long one piece of the work takes.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator, Sequence

from django.db import connection, transaction

from bench import records
from bench.database import empty_database
from bench.records import Sowing
from bench.verdicts import Target, console, show_targets, table
from cpm.engine import queue
from cpm.models.accounts import Account
from cpm.models.backups import BackupTarget
from cpm.models.events import Event
from cpm.models.operations import Operation
from cpm.models.policies import Policy
from cpm.models.users import User, UserKind
from cpm.queries import people
from cpm.services import users

_ROWS, _QUICK_ROWS = 200_000, 20_000

# What a backup leaves beside its record and snapshots.
_TARGETS = Sowing(
    BackupTarget,
    {
        "backup_id": "id",
        "kind": "'ebs_volume'",
        "resource_id": "'vol-' || policy_id",
        "region": "'us-east-1'",
    },
    "cpm_backup",
)
_OPERATIONS = Sowing(
    Operation,
    {
        "token": "gen_random_uuid()",
        "kind": "'ebs_volume'",
        "effect": "'snapshot'",
        "region": "'us-east-1'",
        "backup_id": "id",
        "account_id": "account_id",
        "phase": "'closed'",
        "outcome": "'succeeded'",
        "created_at": "started_at",
        "deadline_at": "started_at",
    },
    "cpm_backup",
)
_EVENTS = Sowing(
    Event,
    {"at": "started_at", "severity": "'I'", "code": "'backup_started'", "backup_id": "id"},
    "cpm_backup, generate_series(1, 3)",
)
_ONE_OWNER = "UPDATE {} SET user_id = (SELECT min(id) FROM cpm_user WHERE kind = 'M')"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.removal", description=__doc__)
    parser.add_argument("--rows", type=int, help=f"backup records (default {_ROWS:,})")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_ROWS:,} records")
    wanted = parser.parse_args(arguments)
    rows = wanted.rows or (_QUICK_ROWS if wanted.quick else _ROWS)
    out = console()
    with empty_database():
        out.print(f"Planting {rows:,} backup records of one user ...")
        user_id = _plant(rows)
        deleting = _seconds(lambda: users.delete(user_id, actor=people.operator()), undo=True)
        at_once = _seconds(lambda: _delete_at_once(user_id), undo=True)
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        users.delete(user_id, actor=people.operator())
        pieces = list(_pieces())
    shown = table("Deleting a user", "", "seconds")
    shown.add_row("the call", f"{deleting:.3f}")
    shown.add_row(f"its {len(pieces)} pieces of work in the background", f"{sum(pieces):.1f}")
    shown.add_row("the longest of them", f"{max(pieces):.2f}")
    shown.add_row(f"all in one transaction (peak memory {peak_mib:.0f} MiB)", f"{at_once:.1f}")
    out.print(shown)
    targets = [
        Target("the call", deleting, 0.5, " s"),
        Target("the longest piece", max(pieces), 5, " s"),
    ]
    show_targets(out, targets)


def _plant(rows: int) -> int:
    records.plant(rows)
    with connection.cursor() as cursor:
        for name in ("cpm_account", "cpm_policy", "cpm_backup"):
            cursor.execute(_ONE_OWNER.format(name))
        for sowing in (_TARGETS, _OPERATIONS, _EVENTS):
            sowing.sow(cursor, {})
    records.tidy()
    return User.objects.filter(kind=UserKind.MANAGED).earliest("pk").pk


def _delete_at_once(user_id: int) -> None:
    Policy.objects.filter(user=user_id).delete()
    Account.objects.filter(user=user_id).update(assume_from_account=None)
    User.objects.filter(pk=user_id).delete()


def _seconds(work: Callable[[], object], *, undo: bool) -> float:
    """How long the work takes, with PostgreSQL's checks before the commit."""
    with transaction.atomic():
        began = time.perf_counter()
        work()
        connection.check_constraints()
        taken = time.perf_counter() - began
        transaction.set_rollback(undo)
    return taken


def _pieces() -> Iterator[float]:
    """How long each job takes, until there is none."""
    began = time.perf_counter()
    while queue.run_next():
        yield time.perf_counter() - began
        began = time.perf_counter()


if __name__ == "__main__":
    main()
