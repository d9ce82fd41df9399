"""Delegates over the API."""

from typing import Any

import pytest

from cpm.models.audit import AuditEntry
from cpm.models.users import User, UserKind
from tests.api.cast import Caller, caller, make_user

GOOD = "Tr0ub4dor&3"
SWITCHES = (
    *("allow_recovery", "allow_account_changes"),
    *("allow_backup_changes", "allow_settings_changes"),
)


def body(owner: Caller, **values: object) -> dict[str, object]:
    return {"original_user": owner.id, "username": "dina", "password": GOOD, **values}


def made(actor: Caller, owner: Caller, **values: object) -> dict[str, Any]:
    answer = actor.post("/delegates/", body(owner, **values))
    assert answer.status == 201, answer.json
    created: dict[str, Any] = answer.json
    return created


def test_a_delegate_is_made_with_no_switch_on(managed: Caller) -> None:
    created = made(managed, managed)
    assert list(created) == ["id", "original_user", "username", "email", "profile"]
    assert created["original_user"] == managed.id
    assert created["profile"] == dict.fromkeys(SWITCHES, False)
    assert list(created["profile"]) == list(SWITCHES)
    assert managed.get(f"/delegates/{created['id']}/").json == created
    assert managed.get("/delegates/").json == [created]


def test_switches_are_merged_and_act_at_once(managed: Caller) -> None:
    created = made(managed, managed, profile={"allow_recovery": True})
    delegate = caller(User.objects.get(pk=created["id"]))
    schedule = {"name": "s", "every_unit": "D", "every_how_many": 1}
    assert delegate.post("/schedules/", schedule).status == 403
    path = f"/delegates/{created['id']}/"
    changed = managed.put(path, {"profile": {"allow_backup_changes": True}}).json
    wanted = dict.fromkeys(SWITCHES, False)
    assert changed["profile"] == wanted | {"allow_recovery": True, "allow_backup_changes": True}
    assert caller(User.objects.get(pk=created["id"])).post("/schedules/", schedule).status == 201


def test_name_and_original_user_stay_what_they_are(
    root: Caller, managed: Caller, stranger: Caller
) -> None:
    created = made(root, managed)
    change = {"username": "other", "original_user": stranger.id, "email": "d@example.com"}
    changed = root.put(f"/delegates/{created['id']}/", change).json
    assert changed == created | {"email": "d@example.com"}


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({"username": "a b"}, {"username": ["invalid"]}),
        ({"username": "MIA"}, {"username": ["unique"]}),
        ({"password": "short"}, {"password": ["password_too_short"]}),
        ({"email": "nobody"}, {"email": ["invalid"]}),
        ({"profile": {"allow_recovery": "x"}}, {"profile.allow_recovery": ["invalid"]}),
        ({"original_user": 4711}, {"original_user": ["does_not_exist"]}),
        ({"original_user": "x"}, {"original_user": ["incorrect_type"]}),
        ({"original_user": None}, {"original_user": ["null"]}),
    ],
)
def test_what_a_delegate_cannot_be_is_refused(
    managed: Caller, values: dict[str, object], codes: dict[str, list[str]]
) -> None:
    answer = managed.post("/delegates/", body(managed, **values))
    assert (answer.status, answer.codes) == (400, codes)


def test_what_is_missing_is_told_at_once(managed: Caller) -> None:
    assert managed.post("/delegates/").codes == {
        name: ["required"] for name in ("original_user", "username", "password")
    }


def test_everybody_has_delegates_of_his_own_and_root_those_of_managed_users_too(
    root: Caller, managed: Caller, independent: Caller, stranger: Caller
) -> None:
    names = iter("abcd")
    owners = (root, managed, independent, stranger)
    ids = {who.id: made(who, who, username=next(names))["id"] for who in owners}
    assert [one["id"] for one in root.get("/delegates/").json] == [
        ids[who.id] for who in (root, managed, stranger)
    ]
    for who in (managed, independent, stranger):
        assert [one["id"] for one in who.get("/delegates/").json] == [ids[who.id]]
    of_managed = root.get(f"/delegates/?original_user={managed.id}").json
    assert [one["id"] for one in of_managed] == [ids[managed.id]]
    assert root.get("/delegates/?search=c&ordering=-username").json == []
    for path in (f"/delegates/{ids[independent.id]}/", f"/delegates/{ids[stranger.id]}/"):
        assert managed.get(path).status == 404
        assert managed.put(path, {}).status == 404
        assert managed.delete(path).status == 404
        assert managed.post(f"{path}reset_password/", {"new_password": GOOD}).status == 404


def test_nobody_makes_a_delegate_of_somebody_he_may_not_act_for(
    root: Caller, managed: Caller, independent: Caller, stranger: Caller
) -> None:
    for actor, owner in ((managed, stranger), (managed, root), (root, independent)):
        answer = actor.post("/delegates/", body(owner))
        assert (answer.status, answer.codes) == (400, {"original_user": ["does_not_exist"]})


def test_a_delegate_writes_delegates_with_his_switch_only(managed: Caller) -> None:
    columns = {"original_user": managed.user, "allow_account_changes": False}
    reader = caller(make_user("rita", UserKind.DELEGATE, **columns))
    writer = caller(make_user("wanda", UserKind.DELEGATE, **columns, allow_settings_changes=True))
    assert reader.post("/delegates/", body(managed)).status == 403
    created = made(writer, managed)
    assert reader.get(f"/delegates/{created['id']}/").json == created


def test_a_deleted_delegate_is_out_at_once_and_stays_in_the_audit_trail(managed: Caller) -> None:
    created = made(managed, managed)
    delegate = caller(User.objects.get(pk=created["id"]))
    assert delegate.get("/policies/").status == 200
    assert managed.delete(f"/delegates/{created['id']}/").status == 204
    assert managed.get(f"/delegates/{created['id']}/").status == 404
    told = AuditEntry.objects.filter(object="dina").values_list("event_type", flat=True)
    assert {"create delegate", "delete delegate"} <= set(told)


def test_a_delegates_password_is_reset_by_his_user(managed: Caller) -> None:
    created = made(managed, managed)
    path = f"/delegates/{created['id']}/reset_password/"
    assert managed.post(path, {"new_password": "short"}).codes == {
        "new_password": ["password_too_short"]
    }
    assert managed.post(path, {"new_password": f"{GOOD}!"}).status == 204
    assert User.objects.get(pk=created["id"]).check_password(f"{GOOD}!")


def test_a_delegate_of_an_identity_provider_can_only_be_deleted(managed: Caller) -> None:
    columns = {"original_user": managed.user, "is_idp_user": True}
    path = f"/delegates/{make_user('idp', UserKind.DELEGATE, **columns).pk}/"
    for answer in (
        managed.put(path, {"email": "x@example.com"}),
        managed.post(f"{path}reset_password/", {"new_password": GOOD}),
    ):
        assert (answer.status, answer.codes) == (400, {"non_field_errors": ["invalid"]})
    assert managed.delete(path).status == 204
