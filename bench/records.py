"""An estate's history in bulk: backup records as months of work leave them behind.

Policies take turns, as their schedules do. Each keeps its newest `GENERATIONS` records; the
snapshots of older ones are deleted. A few runs have failed, or were repeated, or are frozen.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from cpm.kernel import clock
from cpm.models.users import User, UserKind
from cpm.services import tokens

GENERATIONS = 30
_RUNS_PER_POLICY = 200
_POLICIES_PER_ACCOUNT = 10
_ACCOUNTS_PER_USER = 5
_ADDRESS = "192.0.2.7"


@dataclass(frozen=True)
class Estate:
    """What there is to ask for: the token of root, who sees everything, and the records' ids."""

    token: str
    first_id: int
    last_id: int

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
        for statement in (_USERS, _ACCOUNTS, _POLICIES, _BACKUPS, _SNAPSHOTS):
            cursor.execute(statement, values)
        cursor.execute("SELECT min(id), max(id) FROM cpm_backup")
        first_id, last_id = cursor.fetchone()
    return Estate(_token(root), first_id, last_id)


def tidy() -> None:
    """Let PostgreSQL know what it has, as it will after a minute of its own accord."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def _token(user: User) -> str:
    key = tokens.create_key(user, actor=None)
    return tokens.obtain(key, _ADDRESS).access


_USERS = """
INSERT INTO cpm_user (username, email, kind, password, is_active, is_idp_user, created_at,
    allow_account_changes, allow_file_level_recovery, allow_backup_changes, allow_recovery,
    allow_settings_changes)
SELECT 'user-' || n, '', 'M', '', true, false, %(now)s, true, true, false, false, false
FROM generate_series(1, %(users)s) AS n
"""

_ACCOUNTS = """
INSERT INTO cpm_account (user_id, name, authentication, is_dr_account, aws_access_key,
    account_number, role_name, scan_tagged_resources, scan_regions, capture_vpcs,
    allow_deleting_snapshots, aws_account_number, credentials_version)
SELECT people.id, 'account_' || n, 'C', false, 'AKIAIOSFODNN7EXAMPLE', '', '', false, '{}', true,
    true, lpad(n::text, 12, '0'), 1
FROM generate_series(1, %(accounts)s) AS n
JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM cpm_user WHERE kind = 'M') AS people
    ON people.place = n %% %(users)s + 1
"""

_POLICIES = """
INSERT INTO cpm_policy (user_id, account_id, name, enabled, generations, auto_remove_resource,
    modified_at, enable_agent_scripts, agent_script_timeout_seconds, collect_script_output,
    backup_success_indication, retry_count, retry_wait_minutes, alert_after_failures)
SELECT account.user_id, account.id, 'policy-' || n, true, %(generations)s, 'N', %(now)s, false, 30,
    false, 'S', 3, 1, 1
FROM generate_series(1, %(policies)s) AS n
JOIN (SELECT id, user_id, row_number() OVER (ORDER BY id) AS place FROM cpm_account) AS account
    ON account.place = n %% %(accounts)s + 1
"""

# One minute lies between two records. Of each policy, `age` counts back from the youngest.
_BACKUPS = """
INSERT INTO cpm_backup (user_id, account_id, account_name, policy_id, policy_name, schedule_name,
    name, description, is_frozen, trigger, scheduled_at, run, attempt, phase, outcome, started_at,
    finished_at, version, dr_status, s3_status)
SELECT policy.user_id, policy.account_id, 'account_' || policy.account_id, policy.id, policy.name,
    'every night', CASE WHEN is_frozen THEN 'frozen-' || n END,
    CASE WHEN is_frozen THEN 'kept for the auditors' END, is_frozen,
    CASE WHEN n %% 89 = 0 THEN 'R' WHEN n %% 53 = 0 THEN 'M' ELSE 'S' END,
    CASE WHEN n %% 53 > 0 THEN started_at - interval '2 seconds' END, gen_random_uuid(),
    (n %% 89 = 0)::int, 'closed',
    CASE WHEN n %% 71 = 0 THEN 'F' WHEN n %% 61 = 0 THEN 'A'
        WHEN age > %(generations)s AND NOT is_frozen THEN 'D' ELSE 'B' END,
    started_at, started_at + interval '95 seconds', 5, 'N', 'N'
FROM (
    SELECT n, n %% %(policies)s + 1 AS place, n %% 211 = 0 AS is_frozen,
        (%(rows)s - n) / %(policies)s AS age,
        %(now)s::timestamptz - (%(rows)s - n) * interval '1 minute' AS started_at
    FROM generate_series(1, %(rows)s) AS n
) AS record
JOIN (SELECT *, row_number() OVER (ORDER BY id) AS place FROM cpm_policy) AS policy USING (place)
ORDER BY n
"""

_SNAPSHOTS = """
INSERT INTO cpm_snapshot (backup_id, kind, collection, account_id, account_name, region,
    resource_id, resource_name, facts, aws_ref, status, progress_percent, size_gib, encrypted,
    error, started_at, finished_at)
SELECT id, 'ebs_volume', 'volumes', account_id, account_name, 'us-east-1',
    'vol-' || lpad(to_hex(policy_id), 17, '0'), policy_name, '{}',
    'snap-' || lpad(to_hex(id), 17, '0'), 'S', 100, 100, true, '', started_at, finished_at
FROM cpm_backup WHERE outcome IN ('A', 'B')
"""
