"""The identity provider's groups over the API."""

from typing import Any

import pytest

from cpm.models.groups import Group
from cpm.models.users import UserKind
from cpm.services import groups
from cpm.services.users import LIMITS
from tests.api.cast import Caller, caller, make_user

BASE = "/settings/identity_provider/groups/"
USERS, DELEGATES = f"{BASE}users/", f"{BASE}delegates/"
SWITCHES = (
    *("allow_recovery", "allow_account_changes"),
    *("allow_backup_changes", "allow_settings_changes"),
)
BUILT_INS = [
    *("default_managed_users", "default_independent_users"),
    *("default_root_delegates", "default_root_delegates_readonly"),
]


def made(root: Caller, path: str, **values: object) -> dict[str, Any]:
    answer = root.post(path, values)
    assert answer.status == 201, answer.json
    created: dict[str, Any] = answer.json
    return created


def test_every_server_has_the_built_in_groups(root: Caller) -> None:
    groups.ensure_built_ins()
    groups.ensure_built_ins()
    shown = root.get(BASE).json
    assert [group["name"] for group in shown] == BUILT_INS
    assert [group["group_type"] for group in shown] == ["user", "user", "delegate", "delegate"]
    assert [group["user_type"] for group in shown[:2]] == ["M", "I"]
    assert [group["allow_recovery"] for group in shown[2:]] == [True, False]
    assert {group["original_user"] for group in shown[2:]} == {root.id}


def test_a_built_in_group_changes_but_keeps_its_name_and_stays(root: Caller) -> None:
    groups.ensure_built_ins()
    for path in (USERS, DELEGATES):
        (first, *_) = root.get(path).json
        one = f"{path}{first['id']}/"
        changed = root.put(one, {"enabled": False, "name": first["name"]})
        assert changed.json == first | {"enabled": False}
        assert root.put(one, {"name": "other"}).codes == {"name": ["invalid"]}
        assert root.delete(one).codes == {"non_field_errors": ["invalid"]}
        assert root.get(one).json == changed.json


def test_a_group_of_users_is_made_with_its_defaults(root: Caller) -> None:
    created = made(root, USERS, name="staff")
    assert created == {
        "id": created["id"],
        "name": "staff",
        "enabled": True,
        "user_type": "M",
        "allow_file_level_recovery": True,
        **dict.fromkeys(LIMITS),
    }
    one = f"{USERS}{created['id']}/"
    changed = root.put(one, {"max_rds_gib": 5, "user_type": "I", "name": "people"}).json
    assert changed == created | {"max_rds_gib": 5, "user_type": "I", "name": "people"}
    assert root.put(one, {"max_rds_gib": None}).json["max_rds_gib"] is None
    assert root.delete(one).status == 204
    assert root.get(one).status == 404


def test_a_group_of_delegates_is_made_with_no_switch_on(root: Caller, managed: Caller) -> None:
    created = made(root, DELEGATES, name="helpers", original_user=managed.id)
    assert created == {
        "id": created["id"],
        "name": "helpers",
        "enabled": True,
        "original_user": managed.id,
        **dict.fromkeys(SWITCHES, False),
    }
    one = f"{DELEGATES}{created['id']}/"
    changed = root.put(one, {"original_user": root.id, "allow_recovery": "yes"}).json
    assert changed == created | {"original_user": root.id, "allow_recovery": True}
    assert root.get(f"{USERS}{created['id']}/").status == 404


@pytest.mark.parametrize(
    ("path", "values", "codes"),
    [
        (USERS, {}, {"name": ["required"]}),
        (USERS, {"name": "a b"}, {"name": ["invalid"]}),
        (USERS, {"name": "taken"}, {"name": ["unique"]}),
        (USERS, {"name": "x", "user_type": "R"}, {"user_type": ["invalid_choice"]}),
        (USERS, {"name": "x", "max_accounts": -1}, {"max_accounts": ["min_value"]}),
        (DELEGATES, {"name": "taken"}, {"name": ["unique"], "original_user": ["required"]}),
        (DELEGATES, {"name": "x", "original_user": 4711}, {"original_user": ["does_not_exist"]}),
        (DELEGATES, {"name": "x", "original_user": None}, {"original_user": ["null"]}),
    ],
)
def test_what_a_group_cannot_be_is_refused(
    root: Caller, path: str, values: dict[str, object], codes: dict[str, list[str]]
) -> None:
    made(root, USERS, name="taken")
    answer = root.post(path, values)
    assert (answer.status, answer.codes) == (400, codes)


def test_groups_are_narrowed_searched_and_ordered(root: Caller) -> None:
    groups.ensure_built_ins()
    made(root, USERS, name="staff", enabled=False)
    assert [each["name"] for each in root.get(f"{BASE}?enabled=no").json] == ["staff"]
    assert [each["name"] for each in root.get(f"{USERS}?search=INDEP").json] == [BUILT_INS[1]]
    assert [each["name"] for each in root.get(f"{DELEGATES}?ordering=-name").json] == [
        *(BUILT_INS[3], BUILT_INS[2])
    ]


def test_groups_are_roots_and_his_delegates(root: Caller, managed: Caller) -> None:
    columns = {"original_user": root.user, "allow_account_changes": False}
    reader = caller(make_user("rita", UserKind.DELEGATE, **columns))
    assert managed.get(BASE).status == 403
    assert managed.post(USERS, {"name": "x"}).status == 403
    assert reader.get(BASE).json == []
    assert reader.post(USERS, {"name": "x"}).status == 403
    assert not Group.objects.exists()


def test_a_group_goes_with_the_user_whose_delegates_it_makes(root: Caller, managed: Caller) -> None:
    made(root, DELEGATES, name="helpers", original_user=managed.id)
    assert root.delete(f"/users/{managed.id}/").status == 204
    assert root.get(DELEGATES).json == []
