"""Every change leaves its row in the audit trail, and what did not happen leaves none."""

from typing import Any

from cpm.models.audit import AuditEntry
from tests.api.cast import ADDRESS, Caller

SCHEDULE = {"name": "nightly", "every_unit": "D", "every_how_many": 1}


def trail() -> list[Any]:
    return list(
        AuditEntry.objects.order_by("id").values(
            "user_name", "delegate_name", "event_type", "object", "source_address"
        )
    )


def test_a_change_says_who_did_what_from_where(managed: Caller, backup_delegate: Caller) -> None:
    before = len(trail())
    made = backup_delegate.post("/schedules/", SCHEDULE).json
    path = f"/schedules/{made['id']}/"
    managed.put(path, {"description": "x"})
    managed.delete(path)
    by_user = {
        "user_name": "mia",
        "delegate_name": "",
        "object": "nightly",
        "source_address": ADDRESS,
    }
    assert trail()[before:] == [
        {**by_user, "delegate_name": "bodo", "event_type": "create schedule"},
        {**by_user, "event_type": "update schedule"},
        {**by_user, "event_type": "delete schedule"},
    ]


def test_what_is_refused_leaves_no_row(root: Caller, stranger: Caller) -> None:
    made = root.post("/schedules/", SCHEDULE).json
    path = f"/schedules/{made['id']}/"
    before = trail()
    assert root.post("/schedules/", SCHEDULE).status == 400
    assert root.put(path, {"every_unit": "X"}).status == 400
    assert root.put(path, {"description": "x"}, if_match='"other"').status == 412
    assert stranger.delete(path).status == 404
    assert trail() == before


def test_secrets_are_not_in_the_trail(root: Caller) -> None:
    password = "Tr0ub4dor&3"
    made = root.post("/users/", {"username": "new", "password": password}).json
    root.put(f"/users/{made['id']}/", {"password": f"{password}!", "email": "a@example.com"})
    root.post(f"/users/{made['id']}/reset_password/", {"new_password": f"{password}?"})
    rows = list(AuditEntry.objects.values_list())
    assert password not in str(rows)
    assert [row["event_type"] for row in trail()][-3:] == [
        *("create user", "update user", "reset password"),
    ]
