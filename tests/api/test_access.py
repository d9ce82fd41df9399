"""Who may do what: every operation, asked by everybody."""

from typing import Any

import pytest

from cpm.api.operations import Operation
from cpm.api.routes import OPERATIONS
from cpm.models.users import UserKind
from tests.api.cast import Caller, caller, make_user

SWITCHES = [
    "allow_account_changes",
    "allow_backup_changes",
    "allow_recovery",
    "allow_settings_changes",
]

# Which operations need what: the first line whose method and path fit.
READ, BACKUPS, ACCOUNTS, DELETE_ACCOUNTS, RECOVER, DELEGATES, USERS, SETTINGS, SELF, LOGS = (
    *("read", "backups", "accounts", "delete accounts", "recover", "delegates", "users"),
    *("settings", "self", "support logs"),
)
NEEDS = [
    ("GET", "/settings/", SETTINGS),
    ("GET", "/system/support_logs/", LOGS),
    ("GET", "/", READ),
    ("*", "/settings/", SETTINGS),
    ("POST", "/users/me/", SELF),
    ("DELETE", "/recoveries/", RECOVER),
    ("DELETE", "/accounts/", DELETE_ACCOUNTS),
    ("*", "/accounts/", ACCOUNTS),
    ("*", "/users/", USERS),
    ("*", "/delegates/", DELEGATES),
    ("*", "recover/", RECOVER),
    ("*", "/", BACKUPS),
]

# Who may: users by their kind; delegates by the switches that they need at least.
USERS_WHO_MAY = {
    **dict.fromkeys([READ, SELF, BACKUPS, DELETE_ACCOUNTS, ACCOUNTS, RECOVER, DELEGATES], "RIM"),
    **dict.fromkeys([USERS, SETTINGS, LOGS], "R"),
}
SWITCHES_NEEDED = {
    READ: set(),
    SELF: set(),
    BACKUPS: {"allow_backup_changes"},
    ACCOUNTS: {"allow_account_changes", "allow_backup_changes"},
    DELETE_ACCOUNTS: {"allow_account_changes", "allow_backup_changes"},
    RECOVER: {"allow_recovery"},
    DELEGATES: {"allow_settings_changes"},
    USERS: {"allow_settings_changes"},
    SETTINGS: {"allow_settings_changes"},
    LOGS: {"allow_settings_changes"},
}
COMBINATIONS: list[set[str]] = [
    set(),
    *({switch} for switch in SWITCHES),
    {"allow_account_changes", "allow_backup_changes"},
    set(SWITCHES),
]


def need(operation: Operation) -> str:
    for method, part, what in NEEDS:
        if method in {"*", operation.method} and part in operation.path:
            return what
    raise AssertionError(operation)


def address(operation: Operation) -> str:
    """An address of the operation at which there is nothing."""
    parts = operation.path.split("/")
    return "/".join("999999999" if part.startswith("{") else part for part in parts)


def refusals(who: Caller) -> set[tuple[str, str]]:
    """The operations that somebody is told he may not do."""
    found = set()
    for operation in OPERATIONS:
        if operation.action is None:
            continue
        accept = operation.produces[0]
        answer = who.send(operation.method, address(operation), {}, headers={"accept": accept})
        assert answer.status in {200, 201, 400, 403, 404}, (operation, answer.body)
        if answer.status == 403:
            assert answer.codes == {"non_field_errors": ["permission_denied"]}
            found.add((operation.method, operation.path))
    return found


def expected(kind: str, switches: set[str] | None = None) -> set[tuple[str, str]]:
    return {
        (operation.method, operation.path)
        for operation in OPERATIONS
        if operation.action is not None and not _may(need(operation), operation, kind, switches)
    }


def _may(what: str, operation: Operation, kind: str, switches: set[str] | None) -> bool:
    if kind not in USERS_WHO_MAY[what]:
        return False
    reads_settings = what == SETTINGS and operation.method == "GET"
    return switches is None or reads_settings or SWITCHES_NEEDED[what] <= switches


def test_root_may_do_everything(root: Caller) -> None:
    assert refusals(root) == expected("R") == set()


@pytest.mark.parametrize("kind", [UserKind.MANAGED, UserKind.INDEPENDENT])
def test_ordinary_users_may_do_what_concerns_their_own(db: None, kind: UserKind) -> None:
    assert refusals(caller(make_user("ordinary", kind))) == expected(kind.value)


@pytest.mark.parametrize("switches", COMBINATIONS, ids=lambda switches: " ".join(sorted(switches)))
@pytest.mark.parametrize("kind", ["R", "M"])
def test_delegates_may_do_what_their_switches_say(
    root: Caller, managed: Caller, kind: str, switches: set[str]
) -> None:
    original = root.user if kind == "R" else managed.user
    # A column's default is for users; a delegate has what he was given.
    columns: dict[str, Any] = {switch: switch in switches for switch in SWITCHES}
    delegate = make_user("delegate", UserKind.DELEGATE, original_user=original, **columns)
    assert refusals(caller(delegate)) == expected(kind, switches)


def test_accounts_are_changed_by_those_whose_owner_may(db: None) -> None:
    owner = make_user("owner", UserKind.MANAGED, allow_account_changes=False)
    all_switches = dict.fromkeys(SWITCHES, True)
    delegate = make_user("delegate", UserKind.DELEGATE, original_user=owner, **all_switches)
    for person in (owner, delegate):
        assert caller(person).post("/accounts/backup/", {}).status == 403
        assert caller(person).put("/accounts/backup/999999999/", {}).status == 403
        assert caller(person).delete("/accounts/backup/999999999/").status == 404
        assert caller(person).get("/accounts/").status == 200


def test_nobody_may_do_what_needs_a_token(nobody: Caller) -> None:
    for operation in OPERATIONS:
        if operation.action is not None:
            headers = {"accept": operation.produces[0]}
            answer = nobody.send(operation.method, address(operation), {}, headers=headers)
            assert answer.status == 401
            assert answer.codes == {"non_field_errors": ["not_authenticated"]}
