"""An estate's history in bulk: backup records as months of work leave them behind.

Policies take turns, as their schedules do. Each keeps its newest `GENERATIONS` records; the
snapshots of older ones are deleted. A few runs have failed, or were repeated, or are frozen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Model

from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.backups import Backup
from cpm.models.notifications import Channel, Delivery
from cpm.models.policies import Policy
from cpm.models.snapshots import Snapshot
from cpm.models.users import User, UserKind
from cpm.services import tokens

GENERATIONS = 30
_RUNS_PER_POLICY = 200
_POLICIES_PER_ACCOUNT = 10
_ACCOUNTS_PER_USER = 5
_ADDRESS = "192.0.2.7"


@dataclass(frozen=True)
class Estate:
    """What there is to ask for: the key of root, who sees everything, and a token for it, the
    records' ids, and how many policies there are.
    """

    key: str
    token: str
    first_id: int
    last_id: int
    policies: int

    @property
    def some_id(self) -> int:
        """A record from the middle."""
        return (self.first_id + self.last_id) // 2


@transaction.atomic
def plant(rows: int) -> Estate:
    """Make `rows` backup records, and what they belong to."""
    policies = max(1, rows // _RUNS_PER_POLICY)
    accounts = max(1, policies // _POLICIES_PER_ACCOUNT)
    values: dict[str, int | datetime] = {
        "rows": rows,
        "policies": policies,
        "accounts": accounts,
        "users": max(1, accounts // _ACCOUNTS_PER_USER),
        "generations": GENERATIONS,
        "now": clock.now().replace(microsecond=0),
    }
    root = User.objects.create(username="root", kind=UserKind.ROOT, created_at=clock.now())
    with connection.cursor() as cursor:
        for sowing in _SOWINGS:
            sowing.sow(cursor, values)
        cursor.execute("SELECT min(id), max(id) FROM cpm_backup")
        first_id, last_id = cursor.fetchone()
    key = tokens.create_key(root, actor=None)
    return Estate(key, tokens.obtain(key, _ADDRESS).access, first_id, last_id, policies)


def tidy() -> None:
    """Let PostgreSQL know what it has, as it will after a minute of its own accord."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


@dataclass(frozen=True)
class Sowing:
    """Rows of a table: SQL for the columns that matter, and where their values come from.

    All other columns get what the model gives them.
    """

    model: type[Model]
    columns: Mapping[str, str]
    source: str

    def sow(self, cursor: CursorWrapper, values: Mapping[str, int | datetime]) -> None:
        """Insert the rows."""
        fields = [each for each in self.model._meta.concrete_fields if not each.primary_key]
        left = [each for each in fields if each.column not in self.columns]
        chosen = {**self.columns, **{str(each.column): f"%({each.column})s" for each in left}}
        defaults = {
            str(each.column): each.get_db_prep_save(each.get_default(), connection) for each in left
        }
        columns = ", ".join(map(connection.ops.quote_name, chosen))
        cursor.execute(
            f"INSERT INTO {self.model._meta.db_table} ({columns})"
            f" SELECT {', '.join(chosen.values())} FROM {self.source}",
            {**values, **defaults},
        )


_USERS = Sowing(
    User,
    {"username": "'user-' || n", "password": "''", "kind": "'M'", "created_at": "%(now)s"},
    "generate_series(1, %(users)s) AS n",
)

_ACCOUNTS = Sowing(
    Account,
    {
        "user_id": "people.id",
        "name": "'account_' || n",
        "authentication": "'C'",
        "aws_access_key": "'AKIAIOSFODNN7EXAMPLE'",
        "aws_account_number": "lpad(n::text, 12, '0')",
    },
    """generate_series(1, %(accounts)s) AS n JOIN (
        SELECT id, row_number() OVER (ORDER BY id) AS place FROM cpm_user WHERE kind = 'M'
    ) AS people ON people.place = n %% %(users)s + 1""",
)

_POLICIES = Sowing(
    Policy,
    {
        "user_id": "account.user_id",
        "account_id": "account.id",
        "name": "'policy-' || n",
        "generations": "%(generations)s",
        "modified_at": "%(now)s",
    },
    """generate_series(1, %(policies)s) AS n JOIN (
        SELECT id, user_id, row_number() OVER (ORDER BY id) AS place FROM cpm_account
    ) AS account ON account.place = n %% %(accounts)s + 1""",
)

# One minute lies between two records. Of each policy, `age` counts back from the youngest.
_BACKUPS = Sowing(
    Backup,
    {
        "user_id": "policy.user_id",
        "account_id": "policy.account_id",
        "account_name": "'account_' || policy.account_id",
        "policy_id": "policy.id",
        "policy_name": "policy.name",
        "schedule_name": "'every night'",
        "name": "CASE WHEN is_frozen THEN 'frozen-' || n END",
        "description": "CASE WHEN is_frozen THEN 'kept for the auditors' END",
        "is_frozen": "is_frozen",
        "trigger": "CASE WHEN n %% 89 = 0 THEN 'R' WHEN n %% 53 = 0 THEN 'M' ELSE 'S' END",
        "scheduled_at": "CASE WHEN n %% 53 > 0 THEN started_at - interval '2 seconds' END",
        "run": "gen_random_uuid()",
        "attempt": "(n %% 89 = 0)::int",
        "phase": "'closed'",
        "outcome": """CASE WHEN n %% 71 = 0 THEN 'F' WHEN n %% 61 = 0 THEN 'A'
            WHEN age > %(generations)s AND NOT is_frozen THEN 'D' ELSE 'B' END""",
        "started_at": "started_at",
        "finished_at": "started_at + interval '95 seconds'",
        "version": "5",
    },
    """(
        SELECT n, n %% %(policies)s + 1 AS place, n %% 211 = 0 AS is_frozen,
            (%(rows)s - n) / %(policies)s AS age,
            %(now)s::timestamptz - (%(rows)s - n) * interval '1 minute' AS started_at
        FROM generate_series(1, %(rows)s) AS n
    ) AS record JOIN (
        SELECT id, user_id, account_id, name, row_number() OVER (ORDER BY id) AS place
        FROM cpm_policy
    ) AS policy USING (place) ORDER BY n""",
)

_SNAPSHOTS = Sowing(
    Snapshot,
    {
        "backup_id": "id",
        "kind": "'ebs_volume'",
        "collection": "'volumes'",
        "account_id": "account_id",
        "account_name": "account_name",
        "region": "'us-east-1'",
        "resource_id": "'vol-' || lpad(to_hex(policy_id), 17, '0')",
        "resource_name": "policy_name",
        "aws_ref": "'snap-' || lpad(to_hex(id), 17, '0')",
        "status": "'S'",
        "progress_percent": "100",
        "size_gib": "100",
        "encrypted": "true",
        "started_at": "started_at",
        "finished_at": "finished_at",
    },
    "cpm_backup WHERE outcome IN ('A', 'B')",
)

_CHANNELS = Sowing(
    Channel,
    {
        "user_id": "id",
        "name": "'pager'",
        "channel_type": "'email'",
        "email": "'pager@example.com'",
    },
    "cpm_user WHERE kind = 'M'",
)

# As many messages as records; a few have been given up, and fewer are on their way.
_DELIVERIES = Sowing(
    Delivery,
    {
        "channel_id": "channel.id",
        "kind": "'alerts'",
        "key": "gen_random_uuid()",
        "body": "rpad('{\"alerts\": \"', 700, 'a message as long as most are ') || '\"}'",
        "phase": "CASE WHEN n %% 5000 = 0 THEN 'waiting' ELSE 'closed' END",
        "outcome": """CASE WHEN n %% 5000 = 0 THEN '' WHEN n %% 97 = 0 THEN 'given_up'
            ELSE 'delivered' END""",
        "attempts": "1",
        "created_at": "%(now)s::timestamptz - n * interval '10 seconds'",
        "finished_at": "CASE WHEN n %% 5000 > 0 THEN %(now)s::timestamptz END",
        "due_at": "CASE WHEN n %% 5000 = 0 THEN %(now)s::timestamptz END",
    },
    """generate_series(1, %(rows)s) AS n JOIN (
        SELECT id, row_number() OVER (ORDER BY id) AS place FROM cpm_channel
    ) AS channel ON channel.place = n %% %(users)s + 1""",
)

_SOWINGS = (_USERS, _ACCOUNTS, _POLICIES, _BACKUPS, _SNAPSHOTS, _CHANNELS, _DELIVERIES)
