"""Policies over the API, with their options and run times."""

from datetime import timedelta
from typing import Any

from cpm.kernel import clock, times
from cpm.models.policies import PolicySchedule
from cpm.models.users import UserKind
from tests.api.cast import Caller, caller, make_user
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate, connect, create


def schedule(person: Caller, name: str, **values: object) -> int:
    body = {"name": name, "every_unit": "H", "every_how_many": 6, **values}
    return int(create(person, "/schedules/", body)["id"])


def test_a_policy_begins_with_the_defaults_of_the_contract(managed: Caller, cloud: Cloud) -> None:
    account = connect(managed, cloud)["id"]
    policy = create(managed, "/policies/", {"name": "nightly-1", "account": str(account)})
    assert policy == {
        "id": policy["id"],
        "user": managed.id,
        "account": account,
        "name": "nightly-1",
        "description": None,
        "enabled": True,
        "generations": 30,
        "schedules": [],
        "auto_remove_resource": "N",
        "dr_enabled": False,
        "copy_to_s3_enabled": False,
        "last_modified": policy["last_modified"],
        "last_backup": None,
    }
    assert managed.get(f"/policies/{policy['id']}/").json == policy
    assert managed.get("/policies/").json == [policy]


def test_a_policy_belongs_to_an_own_backup_account_and_own_schedules(
    root: Caller, managed: Caller, stranger: Caller, cloud: Cloud, other_cloud: Cloud
) -> None:
    theirs = connect(stranger, cloud)["id"]
    rooted = connect(root, cloud)["id"]
    vault = create(managed, "/accounts/dr/?validate=false", _keys(other_cloud))["id"]
    for account in (theirs, rooted, vault, 424242):
        body = {"name": "x", "account": account, "schedules": [schedule(root, f"s{account}")]}
        codes = managed.post("/policies/", body).codes
        assert codes == {"account": ["does_not_exist"], "schedules": ["does_not_exist"]}
    # Root makes it for a user, with that user's account.
    body = {"name": "x", "account": theirs, "user": stranger.id}
    assert create(root, "/policies/", body)["user"] == stranger.id


def test_put_changes_what_it_names_and_neither_owner_nor_account(
    estate: Estate, managed: Caller, cloud: Cloud
) -> None:
    before = managed.get(estate.path).json
    every = [schedule(managed, "a"), schedule(managed, "b")]
    body: dict[str, object] = {"schedules": every, "enabled": False, "description": "x"}
    changed = managed.put(estate.path, body | {"user": 1, "account": 424242}).json
    assert changed == before | {
        "schedules": every,
        "enabled": False,
        "description": "x",
        "last_modified": changed["last_modified"],
    }
    assert managed.put(estate.path, {"schedules": every[1:]}).json["schedules"] == every[1:]
    assert managed.put(estate.path, {"description": None}).json["description"] is None
    assert managed.put(estate.path, {}).json["schedules"] == every[1:]


def test_all_that_is_wrong_with_a_policy_is_told_at_once(estate: Estate, managed: Caller) -> None:
    body = {"generations": 0, "enabled": "perhaps", "auto_remove_resource": "n", "schedules": "x"}
    assert managed.post("/policies/", {"name": "nightly", **body}).codes == {
        "name": ["unique"],
        "account": ["required"],
        "enabled": ["invalid"],
        "generations": ["min_value"],
        "schedules": ["invalid"],
        "auto_remove_resource": ["invalid_choice"],
    }
    assert managed.put(estate.path, {"name": None, "generations": 10000}).codes == {
        "name": ["null"],
        "generations": ["max_value"],
    }


def test_options_have_defaults_and_limits(estate: Estate, managed: Caller) -> None:
    path = f"{estate.path}options/"
    assert managed.get(path).json == {
        "enable_agent_scripts": False,
        "agent_script_timeout": 30,
        "collect_script_output": False,
        "backup_success_indication": "S",
        "retry_count": 3,
        "retry_wait_minutes": 1,
        "alert_after_failures": 1,
    }
    changed = managed.put(path, {"retry_count": "0", "agent_script_timeout": 60}).json
    assert (changed["retry_count"], changed["agent_script_timeout"]) == (0, 60)
    assert managed.get(path).json == changed
    beyond = {"retry_count": 11, "retry_wait_minutes": 1441, "alert_after_failures": 0}
    assert managed.put(path, beyond | {"agent_script_timeout": 86401}).codes == {
        "agent_script_timeout": ["max_value"],
        "retry_count": ["max_value"],
        "retry_wait_minutes": ["max_value"],
        "alert_after_failures": ["min_value"],
    }


def test_run_times_are_those_of_all_schedules_each_minute_once(
    estate: Estate, managed: Caller
) -> None:
    start = (clock.now() + timedelta(hours=1)).replace(second=0, microsecond=0)
    first = schedule(managed, "first", start_date=times.to_wire(start))
    second = schedule(managed, "second", start_date=times.to_wire(start), every_how_many=12)
    managed.put(estate.path, {"schedules": [second, first]})
    path = f"{estate.path}run_times/"
    assert managed.get(path).json == [
        {
            "run_time": times.to_wire(start + timedelta(hours=6 * k)),
            "schedule": first,
            "schedule_name": "first",
        }
        for k in range(4)
    ]
    assert len(managed.get(f"{path}?days_ahead=3").json) == 12
    for wrong in ("0", "366", "x"):
        assert list(managed.get(f"{path}?days_ahead={wrong}").codes) == ["days_ahead"]
    managed.put(estate.path, {"enabled": False})
    assert managed.get(path).json == []


def test_due_times_begin_when_a_policy_is_enabled_or_changed(
    estate: Estate, managed: Caller
) -> None:
    link = PolicySchedule.objects.filter(policy=estate.policy)
    managed.put(estate.path, {"schedules": [schedule(managed, "a")], "enabled": False})
    assert link.get().next_run_at is None
    managed.put(estate.path, {"enabled": True})
    due = link.get().next_run_at
    assert due is not None
    assert due > clock.now()


def test_who_sees_a_policy_and_who_changes_it(
    estate: Estate, root: Caller, managed: Caller, stranger: Caller, independent: Caller
) -> None:
    paths = [estate.path, f"{estate.path}options/", f"{estate.path}run_times/"]
    reader = caller(make_user("rita", UserKind.DELEGATE, original_user=managed.user))
    columns = {"allow_backup_changes": True}
    writer = caller(make_user("wim", UserKind.DELEGATE, original_user=managed.user, **columns))
    for path in paths:
        assert root.get(path).json == managed.get(path).json == reader.get(path).json
        assert stranger.get(path).status == independent.get(path).status == 404
    for path in paths[:2]:
        assert reader.put(path, {}).status == 403
        assert stranger.put(path, {}).status == 404
        assert writer.put(path, {}).status == root.put(path, {}).status == 200
    assert reader.delete(estate.path).status == 403
    assert stranger.delete(estate.path).status == 404
    assert writer.delete(estate.path).status == 204


def test_the_list_of_policies_costs_one_query(
    estate: Estate, managed: Caller, django_assert_num_queries: Any
) -> None:
    for number in range(5):
        body = {"name": f"p{number}", "account": estate.account}
        create(managed, "/policies/", body | {"schedules": [schedule(managed, f"s{number}")]})
    managed.get("/policies/")
    with django_assert_num_queries(1):
        assert len(managed.get("/policies/").json) == 6
    with django_assert_num_queries(2):
        assert managed.get("/policies/?page_size=2").json["count"] == 6
    with django_assert_num_queries(1):
        managed.get(estate.path)


def test_the_list_is_filtered_searched_and_ordered(
    estate: Estate, managed: Caller, other_cloud: Cloud
) -> None:
    second = connect(managed, other_cloud, name="second")["id"]
    body: dict[str, object] = {"name": "Weekly", "account": second, "description": "the big one"}
    create(managed, "/policies/", body | {"enabled": False})

    def names(query: str) -> list[str]:
        return [each["name"] for each in managed.get(f"/policies/?{query}").json]

    assert names(f"account={second}") == ["Weekly"]
    assert names("enabled=yes") == ["nightly"]
    assert names("enabled=FALSE") == ["Weekly"]
    assert names("name=weekly") == []
    assert names("search=BIG week") == ["Weekly"]
    assert names("ordering=name") == ["Weekly", "nightly"]
    assert names("ordering=-account") == ["Weekly", "nightly"]
    assert managed.get("/policies/?account=x&enabled=perhaps").codes == {
        "account": ["invalid"],
        "enabled": ["invalid"],
    }


def _keys(cloud: Cloud) -> dict[str, object]:
    key = {"aws_access_key": cloud.keys.access_key_id, "aws_secret_key": "x"}
    return {"name": "vault", "authentication": "C", **key}
