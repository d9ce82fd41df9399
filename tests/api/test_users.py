"""Users over the API."""

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cpm.engine import queue, removal, sweep
from cpm.kernel import clock
from cpm.models.accounts import Account
from cpm.models.backups import Backup, Trigger
from cpm.models.policies import Policy
from cpm.models.schedules import Schedule
from cpm.models.settings import Setting
from cpm.models.snapshots import Snapshot
from cpm.models.users import User, UserKind
from cpm.services import users
from cpm.services.users import LIMITS
from tests.api.cast import PASSWORD, Caller, caller, make_user

GOOD = "Tr0ub4dor&3"
USER = {"username": "new@example.com", "password": GOOD}


def made(root: Caller, **values: object) -> dict[str, Any]:
    answer = root.post("/users/", {**USER, **values})
    assert answer.status == 201, answer.json
    created: dict[str, Any] = answer.json
    return created


def test_a_user_is_shown_as_he_was_made(root: Caller) -> None:
    created = made(root)
    assert list(created) == [
        *("id", "username", "email", "user_type", "profile", "last_login", "is_idp_user"),
    ]
    assert list(created["profile"]) == [
        *("allow_account_changes", "allow_file_level_recovery", *LIMITS),
    ]
    assert (created["email"], created["user_type"]) == ("", "M")
    assert (created["last_login"], created["is_idp_user"]) == (None, False)
    assert created["profile"] == {
        "allow_account_changes": True,
        "allow_file_level_recovery": True,
        **dict.fromkeys(LIMITS),
    }
    assert root.get(f"/users/{created['id']}/").json == created


def test_version_1_0_knows_no_limit_of_dynamodb(root: Caller) -> None:
    for version in ("1.1", "1.2"):
        (shown,) = root.using(version).get("/users/").json
        assert "max_dynamodb_gib" in shown["profile"]
    (shown,) = root.using("1.0").get("/users/").json
    assert "max_dynamodb_gib" not in shown["profile"]
    created = root.using("1.0").post("/users/", {**USER, "profile": {"max_dynamodb_gib": 5}}).json
    assert "max_dynamodb_gib" not in created["profile"]


def test_an_update_merges_the_profile(root: Caller) -> None:
    created = made(root, email="a@example.com", profile={"max_accounts": 3, "max_rds_gib": 9})
    path = f"/users/{created['id']}/"
    changes = {"max_rds_gib": None, "allow_account_changes": False}
    changed = root.put(path, {"profile": changes}).json
    assert changed == {**created, "profile": {**created["profile"], **changes}}
    assert root.put(path, {"email": ""}).json["email"] == ""


def test_name_and_type_stay_what_they_are(root: Caller) -> None:
    created = made(root)
    path = f"/users/{created['id']}/"
    assert root.put(path, {"username": "other", "user_type": "I"}).json == created


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({"username": ""}, {"username": ["blank"]}),
        ({"username": "a b"}, {"username": ["invalid"]}),
        ({"username": "x" * 151}, {"username": ["max_length"]}),
        ({"user_type": "R"}, {"user_type": ["invalid_choice"]}),
        ({"user_type": "D"}, {"user_type": ["invalid_choice"]}),
        ({"email": "nobody"}, {"email": ["invalid"]}),
        ({"email": None}, {"email": ["null"]}),
        ({"profile": {"max_accounts": -1}}, {"profile.max_accounts": ["min_value"]}),
        ({"profile": {"max_accounts": 2**31}}, {"profile.max_accounts": ["max_value"]}),
        (
            {"profile": {"max_rds_gib": "x", "allow_account_changes": None}},
            {"profile.max_rds_gib": ["invalid"], "profile.allow_account_changes": ["null"]},
        ),
        ({"profile": None}, {"profile": ["null"]}),
        ({"profile": []}, {"profile": ["invalid"]}),
        ({"password": "short"}, {"password": ["password_too_short"]}),
        ({"password": "83920174652811"}, {"password": ["password_entirely_numeric"]}),
        ({"password": "password"}, {"password": ["password_too_common"]}),
        ({"password": "new@example.com"}, {"password": ["password_too_similar"]}),
        ({"password": "1234"}, {"password": ["password_too_short"]}),
        ({"password": None}, {"password": ["null"]}),
        ({"password": "a\x00bcdefghi"}, {"password": ["invalid"]}),
    ],
)
def test_what_a_user_cannot_be_is_refused(
    root: Caller, values: dict[str, object], codes: dict[str, list[str]]
) -> None:
    answer = root.post("/users/", {**USER, **values})
    assert answer.status == 400
    assert {field: found[:1] for field, found in answer.codes.items()} == codes


def test_all_faults_of_a_user_are_told_at_once(root: Caller) -> None:
    body = {"username": "ROOT", "email": "x", "profile": {"max_accounts": "x"}}
    assert root.post("/users/", body).codes == {
        "username": ["unique"],
        "email": ["invalid"],
        "password": ["required"],
        "profile.max_accounts": ["invalid"],
    }


def test_names_are_unique_whatever_their_case_over_delegates_too(
    root: Caller, delegate: Caller
) -> None:
    assert delegate.user is not None
    made(root)
    for name in ("NEW@example.com", delegate.user.username.upper(), "Root"):
        answer = root.post("/users/", {**USER, "username": name})
        assert answer.codes == {"username": ["unique"]}


def test_root_sees_all_users_and_others_themselves(
    root: Caller, managed: Caller, independent: Caller, delegate: Caller
) -> None:
    assert [one["user_type"] for one in root.get("/users/").json] == ["R", "M", "I"]
    assert [one["id"] for one in root.get("/users/?user_type=i").json] == [independent.id]
    assert [one["id"] for one in root.get("/users/?ordering=-username").json] == [
        *(root.id, managed.id, independent.id),
    ]
    for caller_ in (managed, delegate):
        assert [one["id"] for one in caller_.get("/users/").json] == [managed.id]
        assert caller_.get(f"/users/{managed.id}/").status == 200
        assert caller_.get(f"/users/{root.id}/").status == 404
    assert root.get(f"/users/{delegate.id}/").status == 404


def test_only_root_writes_users(managed: Caller, independent: Caller, delegate: Caller) -> None:
    for who in (managed, independent, delegate):
        for answer in (
            who.post("/users/", USER),
            who.put(f"/users/{who.id}/", {"email": "x@example.com"}),
            who.put("/users/4711/", {}),
            who.delete(f"/users/{who.id}/"),
            who.post(f"/users/{who.id}/reset_password/", {"new_password": GOOD}),
        ):
            assert answer.status == 403


def test_delegates_of_root_write_users_with_their_switch(root: Caller) -> None:
    def delegate(name: str, **switches: bool) -> Caller:
        user = make_user(name, UserKind.DELEGATE, original_user=root.user, **switches)
        return caller(user)

    reader, writer = delegate("rita"), delegate("wanda", allow_settings_changes=True)
    assert reader.get("/users/").json == root.get("/users/").json
    assert reader.post("/users/", USER).status == 403
    assert writer.post("/users/", USER).status == 201


def log_in(username: str, password: str) -> bool:
    return User.objects.get(username=username).check_password(password)


def test_a_password_is_kept_as_it_was_sent(root: Caller) -> None:
    made(root, password=f"  {GOOD}\t")
    assert log_in(USER["username"], f"  {GOOD}\t")
    assert not log_in(USER["username"], GOOD)


def test_root_resets_passwords(root: Caller, managed: Caller, independent: Caller) -> None:
    for who in (managed, independent):
        path = f"/users/{who.id}/reset_password/"
        answer = root.post(path, {"new_password": GOOD})
        assert (answer.status, answer.body) == (204, b"")
        assert who.user is not None
        assert log_in(who.user.username, GOOD)
        assert root.post(path, {"new_password": "short"}).codes == {
            "new_password": ["password_too_short"]
        }
        assert root.post(path).codes == {"new_password": ["required"]}
    assert root.post("/users/4711/reset_password/", {"new_password": GOOD}).status == 404


def test_everybody_changes_his_own_password(
    root: Caller, managed: Caller, delegate: Caller
) -> None:
    for who in (root, managed, delegate):
        path = "/users/me/change_password/"
        wrong = {"old_password": "wrong", "new_password": "short"}
        assert who.post(path, wrong).codes == {
            "old_password": ["invalid"],
            "new_password": ["password_too_short"],
        }
        assert who.user is not None
        assert log_in(who.user.username, PASSWORD)
        right = {"old_password": PASSWORD, "new_password": GOOD}
        assert who.post(path, right).status == 204
        assert log_in(who.user.username, GOOD)
        assert who.get("/regions/").status == 200


def test_users_of_an_identity_provider_can_only_be_deleted(root: Caller) -> None:
    user = make_user("idp", UserKind.MANAGED, is_idp_user=True)
    path = f"/users/{user.pk}/"
    assert root.get(path).json["is_idp_user"] is True
    for answer in (
        root.put(path, {"email": "x@example.com"}),
        root.post(f"{path}reset_password/", {"new_password": GOOD}),
        caller(user).post(
            "/users/me/change_password/", {"old_password": PASSWORD, "new_password": GOOD}
        ),
    ):
        assert (answer.status, answer.codes) == (400, {"non_field_errors": ["invalid"]})
    assert root.delete(path).status == 204


def test_root_cannot_be_deleted(root: Caller) -> None:
    answer = root.delete(f"/users/{root.id}/")
    assert (answer.status, answer.codes) == (400, {"non_field_errors": ["invalid"]})


def with_a_backup(owner: Caller, **state: object) -> Backup:
    assert owner.user is not None
    base = Account.objects.create(user=owner.user, name="base", authentication="C")
    account = Account.objects.create(
        user=owner.user, name="acme", authentication="A", assume_from_account=base
    )
    now = clock.now()
    policy = Policy.objects.create(user=owner.user, account=account, name="p", modified_at=now)
    return Backup.objects.create(
        user=owner.user,
        account=account,
        policy=policy,
        policy_name="p",
        account_name="acme",
        trigger=Trigger.MANUAL,
        started_at=now,
        **state,
    )


LISTS = ("accounts", "alerts", "backups", "delegates", "policies", "recoveries", "schedules")


def with_records(owner: Caller, records: int) -> None:
    owner.post("/schedules/", {"name": "s", "every_unit": "D", "every_how_many": 1})
    first = with_a_backup(owner, phase="closed", outcome="B", finished_at=clock.now())
    Snapshot.objects.create(backup=first, aws_ref="snap-1", account=first.account)
    for _ in range(records - 1):
        first.pk, first.run = None, uuid.uuid4()
        first.save(force_insert=True)


def test_a_user_goes_with_all_that_is_his(
    root: Caller, managed: Caller, delegate: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "PIECE", 3)
    with_records(managed, 8)
    assert root.delete(f"/users/{managed.id}/").status == 204
    assert [one["id"] for one in root.get("/users/").json] == [root.id]
    assert [root.get(f"/{name}/").json for name in LISTS] == [[]] * len(LISTS)
    assert root.get(f"/users/{managed.id}/").status == 404
    # What nobody sees any longer goes piece by piece.
    left = [Backup.objects.count()]
    while queue.run_next():
        left.append(Backup.objects.count())
    assert left == [8, 5, 2, 0, 0]
    for model in (Account, Policy, Schedule, Snapshot):
        assert not model._default_manager.exists()
    assert User.objects.count() == 1


def test_a_user_with_many_records_is_deleted_as_fast_as_one_with_few(
    root: Caller, managed: Caller, independent: Caller, known_for_good: None
) -> None:
    root.get("/users/")
    with_records(managed, 1)
    with_records(independent, 100)
    with CaptureQueriesContext(connection) as few:
        root.delete(f"/users/{managed.id}/")
    with CaptureQueriesContext(connection) as many:
        root.delete(f"/users/{independent.id}/")
    assert len(many) == len(few)


def test_the_names_of_who_was_deleted_are_free_at_once(
    root: Caller, managed: Caller, delegate: Caller
) -> None:
    assert managed.user is not None
    assert delegate.user is not None
    names = [managed.user.username, delegate.user.username]
    root.delete(f"/users/{managed.id}/")
    for name in names:
        made(root, username=name)


def test_who_was_deleted_counts_no_longer_against_the_licence(
    root: Caller, managed: Caller
) -> None:
    Setting.objects.create(section="license", value={"max_users": 1})
    assert root.post("/users/", USER).status == 403
    root.delete(f"/users/{managed.id}/")
    made(root)


def test_what_is_lost_of_the_removal_is_taken_up_by_the_next_sweep(
    root: Caller, managed: Caller
) -> None:
    root.delete(f"/users/{managed.id}/")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")
    sweep.sweep()
    while queue.run_next():
        pass
    assert User.objects.count() == 1


def test_a_user_with_work_in_progress_stays(root: Caller, managed: Caller) -> None:
    with_a_backup(managed, due_at=clock.now())
    answer = root.delete(f"/users/{managed.id}/")
    assert (answer.status, answer.codes) == (409, {"non_field_errors": ["in_progress"]})
    assert root.get(f"/users/{managed.id}/").status == 200


def test_the_licence_caps_users_but_not_root_and_delegates(
    root: Caller, managed: Caller, delegate: Caller
) -> None:
    Setting.objects.create(section="license", value={"max_users": 2})
    made(root)
    answer = root.post("/users/", {**USER, "username": "one_more"})
    assert (answer.status, answer.codes) == (403, {"non_field_errors": ["license"]})


def test_the_first_start_makes_root_once(db: None, tmp_path: Any) -> None:
    users.ensure_root("", tmp_path / "password")
    users.ensure_root("ignored", tmp_path / "password")
    kept = (tmp_path / "password").read_text().strip()
    assert User.objects.get().check_password(kept)
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600


def test_a_users_list_costs_one_query(
    root: Caller, managed: Caller, django_assert_num_queries: Any
) -> None:
    root.get("/regions/")
    with django_assert_num_queries(1):
        assert len(root.get("/users/").json) == 2
