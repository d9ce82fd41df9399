"""What exists in the accounts and no policy protects, as the report of 1.2.0 tells."""

from datetime import timedelta

import pytest

from cpm.engine import queue, sweep
from cpm.engine.settings import Inventory
from cpm.kernel import clock, times
from tests.api.cast import Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate

PATH = "/reports/protected-resources/?unprotected=true"


def look() -> None:
    """The last look was long ago, and there is one now."""
    Inventory.change(last_inventory_time=times.to_wire(clock.now() - timedelta(days=2)))
    clock.set_offset(clock._offset + timedelta(seconds=2))
    sweep.sweep()
    while queue.run_next():
        pass


def found(who: Caller, query: str = "") -> list[str]:
    answer = who.get(f"{PATH}{query}")
    assert answer.status == 200, answer.body
    return sorted(each["resource_id"] for each in answer.json)


@pytest.fixture
def bare(estate: Estate, cloud: Cloud) -> list[str]:
    """The ids of one resource of each kind that stands by itself, seen and not protected."""
    instance = cloud.instance(2)
    ids = [cloud.volume(), instance, *cloud.volumes_of(instance).values(), cloud.database()]
    ids += [cloud.aurora(members=1), "shop-1", cloud.warehouse(), cloud.table()]
    look()
    return sorted(ids)


def test_whatever_no_policy_protects_is_reported_with_the_time_it_was_seen(
    estate: Estate, bare: list[str]
) -> None:
    assert found(estate.caller) == bare
    first = estate.caller.get(PATH).json[0]
    assert (first["policies"], first["schedules"]) == ([], [])
    assert first["last_successful_backup"] is None
    assert (first["account"], first["region"]) == ("prod", "us-east-1")
    assert times.parse(first["seen_at"]) > clock.now() - timedelta(minutes=5)
    assert "seen_at" not in estate.caller.using("1.1.0").get(PATH).json[0]
    assert estate.caller.get("/reports/protected-resources/").json == []


def test_what_is_protected_is_not_and_neither_are_parts_of_it(
    estate: Estate, cloud: Cloud, bare: list[str]
) -> None:
    (instance,) = [each for each in bare if each.startswith("i-")]
    estate.target("instances", instance)
    estate.target("dynamodb_tables", "orders")
    estate.target("rds_clusters", "shop")
    gone = {instance, *cloud.volumes_of(instance).values(), "shop", "shop-1"}
    kinds = {(each["type"], each["resource_id"]) for each in estate.caller.get(PATH).json}
    assert {name for _kind, name in kinds} == set(bare) - gone
    # The database is called like the table.
    assert [kind for kind, name in kinds if name == "orders"] == ["RDS database"]


def test_what_is_gone_in_aws_is_gone_with_the_next_look(
    estate: Estate, cloud: Cloud, bare: list[str]
) -> None:
    cloud.client("dynamodb").delete_table(TableName="orders")
    look()
    assert len(found(estate.caller)) == len(bare) - 1


def test_what_cannot_be_listed_stays_as_it_was_seen(
    estate: Estate, cloud: Cloud, bare: list[str]
) -> None:
    before = {each["resource_id"]: each["seen_at"] for each in estate.caller.get(PATH).json}
    rule = {"op": "redshift:DescribeClusters", "kind": "denied", "times": None}
    cloud.simulator.faults([rule])
    look()
    after = {each["resource_id"]: each["seen_at"] for each in estate.caller.get(PATH).json}
    assert after.keys() == before.keys()
    old = {each for each in after if after[each] == before[each]}
    assert old == {"dw-1"}


def test_an_account_that_nobody_has_looked_at_is_looked_at_when_it_is_asked_for(
    estate: Estate, cloud: Cloud
) -> None:
    volume = cloud.volume()
    assert found(estate.caller) == []
    while queue.run_next():
        pass
    assert found(estate.caller) == [volume]
    calls = cloud.simulator.counts()
    assert found(estate.caller) == [volume]
    assert not queue.run_next()
    assert cloud.simulator.counts() == calls


def test_it_comes_as_csv_by_the_page_and_by_account_and_to_nobody_else(
    root: Caller, estate: Estate, stranger: Caller, delegate: Caller, bare: list[str]
) -> None:
    lines = estate.caller.get(PATH, accept="text/csv").body.decode().splitlines()
    assert lines[0].endswith(",Last Successful Backup,Seen At")
    assert lines[0].startswith("Resource ID,")
    assert len(lines) == len(bare) + 1
    old = estate.caller.get(PATH, accept="text/csv; version=1.1.0").body.decode().splitlines()
    assert old[0].endswith(",Last Successful Backup")
    assert {line.count(",") for line in old} == {old[0].count(",")}
    assert estate.caller.get(f"{PATH}&page_size=2").json["count"] == len(bare)
    assert found(estate.caller, f"&account={estate.account}") == bare
    assert found(estate.caller, "&account=999999999") == []
    assert found(root) == found(delegate) == bare
    assert root.get(PATH).json[0]["user"] == "mia"
    assert found(stranger) == []
    assert estate.caller.get(f"{PATH[:-4]}x").codes == {"unprotected": ["invalid"]}
