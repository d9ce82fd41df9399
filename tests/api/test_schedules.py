"""Schedules over the API."""

from typing import Any

import pytest

from cpm.models.accounts import Account
from cpm.models.policies import Policy, PolicySchedule
from tests.api.cast import Caller

DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
KEYS = ["id", "name", "description", "user", "every_unit", "every_how_many", "start_date"]
KEYS += ["end_date", "last_modified"]
SCHEDULE = {"name": "nightly", "every_unit": "D", "every_how_many": 1}


def made(caller: Caller, **values: object) -> dict[str, Any]:
    answer = caller.post("/schedules/", {**SCHEDULE, **values})
    assert answer.status == 201, answer.json
    created: dict[str, Any] = answer.json
    return created


def test_a_schedule_has_the_keys_of_the_guide(root: Caller) -> None:
    weekly = made(root, every_unit="W")
    assert list(weekly) == [*KEYS, "disable_times"]
    daily = made(root, name="daily", every_unit="D")
    assert list(daily) == [*KEYS, *(f"allow_on_{day}" for day in DAYS), "disable_times"]
    assert root.get("/schedules/").json == [weekly, daily]
    assert root.get(f"/schedules/{daily['id']}/").json == daily


def test_what_is_left_out_has_its_default(root: Caller) -> None:
    created = made(root)
    assert created["start_date"] == created["last_modified"]
    assert {day: created[f"allow_on_{day}"] for day in DAYS} == dict.fromkeys(DAYS, True)
    assert (created["end_date"], created["description"]) == (None, None)
    assert created["disable_times"] == []
    assert created["user"] == root.id


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2030-02-03", "2030-02-03T00:00:00Z"),
        ("2030-02-03T04:05:06.999999Z", "2030-02-03T04:05:06Z"),
        ("2030-02-03T04:05:06+02:00", "2030-02-03T02:05:06Z"),
        ("2030-02-03 04:05", "2030-02-03T04:05:00Z"),
    ],
)
def test_times_come_in_many_forms_and_go_out_in_one(root: Caller, sent: str, shown: str) -> None:
    created = made(root, start_date=sent, end_date=sent)
    assert (created["start_date"], created["end_date"]) == (shown, shown)


def test_an_update_changes_what_it_says_and_nothing_else(root: Caller) -> None:
    windows = [{"day": "monday", "start_time": "22:00", "end_time": "06:00"}]
    before = made(root, description="old", allow_on_sunday=False, disable_times=windows)
    path = f"/schedules/{before['id']}/"
    after = root.put(path, {"description": "new"}).json
    assert after == {**before, "description": "new", "last_modified": after["last_modified"]}
    assert root.put(path, {}).json["description"] == "new"
    assert root.put(path, {"description": None}).json["description"] is None
    assert root.put(path, {"disable_times": []}).json["disable_times"] == []


def test_weekdays_are_kept_where_they_have_no_say(root: Caller) -> None:
    created = made(root, allow_on_sunday=False)
    path = f"/schedules/{created['id']}/"
    weekly = root.put(path, {"every_unit": "W", "allow_on_monday": False}).json
    assert not [key for key in weekly if key.startswith("allow_on")]
    daily = root.put(path, {"every_unit": "D"}).json
    assert (daily["allow_on_sunday"], daily["allow_on_monday"]) == (False, False)
    assert daily["allow_on_tuesday"] is True


def test_the_end_is_not_before_the_start(root: Caller) -> None:
    early, late = "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"
    answer = root.post("/schedules/", {**SCHEDULE, "start_date": late, "end_date": early})
    assert (answer.status, answer.codes) == (400, {"end_date": ["invalid"]})
    assert root.post("/schedules/", {**SCHEDULE, "end_date": "2001-01-01"}).status == 400
    path = f"/schedules/{made(root, start_date=early, end_date=late)['id']}/"
    assert root.put(path, {"start_date": "2030-01-03"}).codes == {"start_date": ["invalid"]}
    assert root.put(path, {"end_date": "2029-12-31"}).codes == {"end_date": ["invalid"]}
    assert root.put(path, {"end_date": None, "start_date": "2031-01-01"}).status == 200


@pytest.mark.parametrize(
    "window",
    [
        {"day": "all", "start_time": "00:00", "end_time": "24:00"},
        {"day": "sunday", "start_time": "23:30", "end_time": "00:30"},
    ],
)
def test_windows_are_shown_as_they_were_given(root: Caller, window: dict[str, str]) -> None:
    assert made(root, disable_times=[window, window])["disable_times"] == [window, window]


@pytest.mark.parametrize(
    "windows",
    [
        [{"day": "all", "start_time": "08:00", "end_time": "08:00"}],
        [{"day": "Sunday", "start_time": "08:00", "end_time": "09:00"}],
        [{"day": "all", "start_time": "8:00", "end_time": "09:00"}],
        [{"day": "all", "start_time": "08:00", "end_time": "24:01"}],
        [{"day": "all", "start_time": "24:00", "end_time": "09:00"}],
        [{"day": "all", "start_time": "08:00"}],
        [{"day": None, "start_time": "08:00", "end_time": "09:00"}],
        [[]],
        "all",
        {},
    ],
)
def test_windows_that_are_none_are_refused(root: Caller, windows: object) -> None:
    answer = root.post("/schedules/", {**SCHEDULE, "disable_times": windows})
    assert answer.status == 400
    assert list(answer.codes) == ["disable_times"]


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({"every_how_many": 0}, {"every_how_many": ["min_value"]}),
        ({"every_how_many": 10000}, {"every_how_many": ["max_value"]}),
        ({"every_how_many": 1.5}, {"every_how_many": ["invalid"]}),
        ({"every_how_many": 10**40}, {"every_how_many": ["max_value"]}),
        ({"every_unit": "w"}, {"every_unit": ["invalid_choice"]}),
        ({"every_unit": None}, {"every_unit": ["null"]}),
        ({"name": " "}, {"name": ["blank"]}),
        ({"name": "with space"}, {"name": ["invalid"]}),
        ({"name": "äöü"}, {"name": ["invalid"]}),
        ({"name": "x" * 101}, {"name": ["max_length"]}),
        ({"name": None}, {"name": ["null"]}),
        ({"description": "<b>"}, {"description": ["invalid"]}),
        ({"description": "two\nlines"}, {"description": ["invalid"]}),
        ({"description": "x" * 1001}, {"description": ["max_length"]}),
        ({"start_date": None}, {"start_date": ["null"]}),
        ({"start_date": 5}, {"start_date": ["invalid"]}),
        ({"start_date": "2030-13-01"}, {"start_date": ["invalid"]}),
        ({"user": None}, {"user": ["null"]}),
        ({"user": -1}, {"user": ["does_not_exist"]}),
        ({"user": 10**30}, {"user": ["does_not_exist"]}),
    ],
)
def test_what_a_schedule_cannot_be_is_refused(
    root: Caller, values: dict[str, object], codes: dict[str, list[str]]
) -> None:
    answer = root.post("/schedules/", {**SCHEDULE, **values})
    assert (answer.status, answer.codes) == (400, codes)
    path = f"/schedules/{made(root)['id']}/"
    if "user" not in values:
        assert root.put(path, values).codes == codes


def test_blanks_around_a_name_are_cut(root: Caller) -> None:
    assert made(root, name="  nightly-1 ")["name"] == "nightly-1"


def test_names_are_unique_for_each_owner(root: Caller, managed: Caller) -> None:
    first = made(root)
    assert root.post("/schedules/", SCHEDULE).codes == {"name": ["unique"]}
    made(root, name="Nightly")
    made(managed)
    assert root.post("/schedules/", {**SCHEDULE, "user": managed.id}).codes == {"name": ["unique"]}
    second = made(root, name="other")
    assert root.put(f"/schedules/{second['id']}/", {"name": "nightly"}).codes == {
        "name": ["unique"]
    }
    assert root.put(f"/schedules/{first['id']}/", {"name": "nightly"}).status == 200


def test_everybody_sees_and_changes_what_is_his(
    root: Caller, managed: Caller, independent: Caller, stranger: Caller
) -> None:
    path = f"/schedules/{made(managed)['id']}/"
    for caller in (stranger, independent):
        assert caller.get("/schedules/").json == []
        for answer in (caller.get(path), caller.put(path, {}), caller.delete(path)):
            assert answer.status == 404
    assert root.put(path, {"description": "by root"}).status == 200
    assert managed.get(path).json["description"] == "by root"
    of_independent = f"/schedules/{made(independent)['id']}/"
    assert root.get(of_independent).status == 404
    assert root.get("/schedules/").json == [managed.get(path).json]
    assert managed.delete(path).status == 204
    assert managed.get(path).status == 404


def test_only_root_names_another_owner_and_only_a_managed_one(
    root: Caller, managed: Caller, independent: Caller, stranger: Caller, delegate: Caller
) -> None:
    assert made(root, user=managed.id)["user"] == managed.id
    assert made(root, user=root.id)["user"] == root.id
    assert made(managed, user=managed.id, name="own")["user"] == managed.id
    for caller, owner in (
        (root, independent),
        (root, delegate),
        (managed, stranger),
        (managed, root),
        (managed, delegate),
        (independent, root),
    ):
        answer = caller.post("/schedules/", {**SCHEDULE, "name": "foreign", "user": owner.id})
        assert answer.codes == {"user": ["does_not_exist"]}


def test_a_delegate_reads_all_and_writes_with_his_switch(managed: Caller, delegate: Caller) -> None:
    path = f"/schedules/{made(managed)['id']}/"
    assert delegate.get(path).json == managed.get(path).json
    for answer in (
        delegate.post("/schedules/", {**SCHEDULE, "name": "x"}),
        delegate.put(path, {}),
        delegate.delete(path),
        delegate.delete("/schedules/4711/"),
    ):
        assert answer.status == 403
        assert answer.codes == {"non_field_errors": ["permission_denied"]}


def test_a_delegate_with_his_switch_makes_objects_of_his_user(
    managed: Caller, backup_delegate: Caller
) -> None:
    created = made(backup_delegate)
    assert created["user"] == managed.id
    assert managed.get("/schedules/").json == [created]


def test_a_change_sets_the_next_run_from_now(root: Caller) -> None:
    schedule = made(root, start_date="2001-01-01T00:00:00Z")
    assert root.user is not None
    account = Account.objects.create(user=root.user, name="acme", authentication="R")
    policy = Policy.objects.create(
        user=root.user, account=account, name="p", modified_at="2001-01-01T00:00:00Z"
    )
    link = PolicySchedule.objects.create(policy=policy, schedule_id=schedule["id"])
    root.put(f"/schedules/{schedule['id']}/", {"start_date": "2040-01-01T00:00:00Z"})
    link.refresh_from_db()
    assert link.next_run_at is not None
    assert link.next_run_at.isoformat() == "2040-01-01T00:00:00+00:00"
    assert root.delete(f"/schedules/{schedule['id']}/").status == 204
    assert not policy.links.exists()
