"""Who may do what: the contract's matrix, line by line, for every operation of the API.

Nothing here is taken from the product: what it says of itself is what the matrix is held against.
An operation that has no line, and a line that has no operation, are faults.
"""

import re
from collections.abc import Collection, Iterator
from enum import Enum

from cpm.api.operations import Operation

ACCOUNT, BACKUP, RECOVERY, SETTINGS = SWITCHES = (
    *("allow_account_changes", "allow_backup_changes"),
    *("allow_recovery", "allow_settings_changes"),
)


class Need(Enum):
    """A line of the matrix: the kinds of users who may, and the switches that delegates need."""

    TOKEN = ("nobody needs a token", "RIM", ())
    READ = ("read what is visible", "RIM", ())
    OWN_LOGIN = ("own password", "RIM", ())
    ACCOUNTS = ("create, update account", "RIM", (ACCOUNT, BACKUP))
    LEAVE_ACCOUNT = ("delete account, its snapshots", "RIM", (ACCOUNT, BACKUP))
    BACKUPS = ("policies and all that; run, freeze, delete", "RIM", (BACKUP,))
    RECOVER = ("recover, delete a recovery record", "RIM", (RECOVERY,))
    DELEGATES = ("write delegates", "RIM", (SETTINGS,))
    NOTIFICATIONS = ("write channels and the daily summary", "RIM", (SETTINGS,))
    USERS = ("write users", "R", (SETTINGS,))
    READ_SERVER = ("read settings, licence", "R", ())
    SUPPORT_LOGS = ("read support logs", "R", (SETTINGS,))
    SERVER = ("write settings, licence", "R", (SETTINGS,))

    def __init__(self, line: str, kinds: str, switches: Collection[str]) -> None:
        self.line = line
        self.kinds = kinds
        self.switches = frozenset(switches)

    def admits(self, kind: str, switches: Collection[str] | None) -> bool:
        """Whether a user of this kind may, or, with `switches`, a delegate of such a user."""
        return kind in self.kinds and (switches is None or self.switches <= set(switches))


Methods = dict[str, Need]

_LISTED: Methods = {"GET": Need.READ}
_WRITTEN: Methods = {"GET": Need.READ, "PUT": Need.BACKUPS, "DELETE": Need.BACKUPS}
_MADE: Methods = {"GET": Need.READ, "POST": Need.BACKUPS}
_KEPT: Methods = {"GET": Need.READ, "DELETE": Need.BACKUPS}
_ADJUSTED: Methods = {"GET": Need.READ, "PUT": Need.BACKUPS}
_ACCOUNTS: Methods = {"GET": Need.READ, "POST": Need.ACCOUNTS}
_ACCOUNT: Methods = {"GET": Need.READ, "PUT": Need.ACCOUNTS, "DELETE": Need.LEAVE_ACCOUNT}
_SECTION: Methods = {"GET": Need.READ_SERVER, "POST": Need.SERVER}
_GROUP: Methods = {"GET": Need.READ_SERVER, "PUT": Need.SERVER, "DELETE": Need.SERVER}

_TARGETS = (
    *("instances", "volumes", "rds_databases", "rds_clusters", "redshift_clusters"),
    "dynamodb_tables",
)
_RECOVERABLE = (
    *("volumes", "dr_volumes", "rds_databases", "dr_rds_databases", "rds_clusters"),
    *("dr_rds_clusters", "redshift_clusters", "dynamodb_tables"),
)
_AMIS = ("only_amis", "initial_amis", "dr_initial_amis", "only_dr_amis")

MATRIX: dict[str, Methods] = {
    "/token/obtain/api_key/": {"POST": Need.TOKEN},
    "/token/refresh/": {"POST": Need.TOKEN},
    "/schema/": {"GET": Need.TOKEN},
    "/docs/": {"GET": Need.TOKEN},
    "/users/": {"GET": Need.READ, "POST": Need.USERS},
    "/users/{}/": {"GET": Need.READ, "PUT": Need.USERS, "DELETE": Need.USERS},
    "/users/{}/reset_password/": {"POST": Need.USERS},
    "/users/me/change_password/": {"POST": Need.OWN_LOGIN},
    "/delegates/": {"GET": Need.READ, "POST": Need.DELEGATES},
    "/delegates/{}/": {"GET": Need.READ, "PUT": Need.DELEGATES, "DELETE": Need.DELEGATES},
    "/delegates/{}/reset_password/": {"POST": Need.DELEGATES},
    "/accounts/": _LISTED,
    "/accounts/backup/": _ACCOUNTS,
    "/accounts/backup/{}/": _ACCOUNT,
    "/accounts/backup/{}/snapshots/": {"DELETE": Need.LEAVE_ACCOUNT},
    "/accounts/dr/": _ACCOUNTS,
    "/accounts/dr/{}/": _ACCOUNT,
    "/accounts/dr/{}/snapshots/": {"DELETE": Need.LEAVE_ACCOUNT},
    "/regions/": _LISTED,
    "/schedules/": _MADE,
    "/schedules/{}/": _WRITTEN,
    "/policies/": _MADE,
    "/policies/{}/": _WRITTEN,
    "/policies/{}/options/": _ADJUSTED,
    "/policies/{}/dr/": _ADJUSTED,
    "/policies/{}/run_times/": _LISTED,
    "/policies/{}/backups/": {"POST": Need.BACKUPS},
    "/policies/{}/snapshots/": {"DELETE": Need.BACKUPS},
    "/policies/{}/targets/": _LISTED,
    **{f"/policies/{{}}/targets/{each}/": _MADE for each in _TARGETS},
    **{f"/policies/{{}}/targets/{each}/{{}}/": _KEPT for each in _TARGETS},
    "/policies/{}/targets/instances/{}/": _WRITTEN,
    "/policies/{}/targets/instances/{}/volumes/": _MADE,
    "/policies/{}/targets/instances/{}/volumes/{}/": _KEPT,
    "/backups/": _LISTED,
    "/backups/{}/": _WRITTEN,
    "/backups/{}/logs/": _LISTED,
    "/backups/{}/to_freezer/": {"POST": Need.BACKUPS},
    "/freezer/": _LISTED,
    "/backups/{}/snapshots/": _KEPT,
    **{f"/backups/{{}}/snapshots/{each}/": _LISTED for each in _RECOVERABLE + _AMIS},
    **{f"/backups/{{}}/snapshots/{each}/{{}}/": _KEPT for each in _RECOVERABLE + _AMIS},
    "/backups/{}/snapshots/instances/": _LISTED,
    "/backups/{}/snapshots/instances/{}/": _LISTED,
    **{
        f"/backups/{{}}/snapshots/{each}/{{}}/recover/": {"POST": Need.RECOVER}
        for each in (*_RECOVERABLE, "instances")
    },
    "/recoveries/": _LISTED,
    "/recoveries/{}/": {"GET": Need.READ, "DELETE": Need.RECOVER},
    "/recoveries/{}/logs/": _LISTED,
    "/alerts/": _LISTED,
    "/notifications/channels/": {"GET": Need.READ, "POST": Need.NOTIFICATIONS},
    "/notifications/channels/{}/": {
        "GET": Need.READ,
        "PUT": Need.NOTIFICATIONS,
        "DELETE": Need.NOTIFICATIONS,
    },
    "/notifications/channels/{}/test/": {"POST": Need.NOTIFICATIONS},
    "/notifications/channels/{}/deliveries/": _LISTED,
    "/notifications/summary/": {"GET": Need.READ, "PUT": Need.NOTIFICATIONS},
    "/agents/": _LISTED,
    "/reports/backups/": _LISTED,
    "/reports/snapshots/": _LISTED,
    "/reports/audit/": _LISTED,
    "/reports/protected-resources/": _LISTED,
    "/reports/usage/": _LISTED,
    "/reports/usage/anonymized/": _LISTED,
    "/system/support_logs/": {"GET": Need.SUPPORT_LOGS},
    "/settings/identifier/": _SECTION,
    "/settings/proxy/": _SECTION,
    "/settings/smtp/": _SECTION,
    "/settings/license/": _SECTION,
    "/settings/cleanup/": _SECTION,
    "/settings/cleanup/run/": {"POST": Need.SERVER},
    "/settings/cleanup/logs/": {"GET": Need.READ_SERVER},
    "/settings/tagscan/": _SECTION,
    "/settings/tagscan/logs/": {"GET": Need.READ_SERVER},
    "/settings/identity_provider/": _SECTION,
    "/settings/identity_provider/groups/": {"GET": Need.READ_SERVER},
    "/settings/identity_provider/groups/users/": _SECTION,
    "/settings/identity_provider/groups/users/{}/": _GROUP,
    "/settings/identity_provider/groups/delegates/": _SECTION,
    "/settings/identity_provider/groups/delegates/{}/": _GROUP,
}


def lines() -> Iterator[tuple[str, str]]:
    """Every method and path of the matrix."""
    for path, methods in MATRIX.items():
        for method in methods:
            yield method, path


def line_of(operation: Operation) -> tuple[str, str]:
    """The method and path of an operation as the matrix writes them."""
    return operation.method, re.sub(r"\{[^}]*\}", "{}", operation.path)


def need_of(operation: Operation) -> Need:
    """The line of the matrix that an operation stands in."""
    method, path = line_of(operation)
    return MATRIX[path][method]
