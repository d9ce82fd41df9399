"""Agents over the API."""

from typing import Any

import pytest

from cpm.engine import agents, queue
from tests.api.cast import Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate, create


@pytest.fixture
def instances(estate: Estate, cloud: Cloud) -> list[str]:
    """Three instances: the policy counts on the agents of two, of which one is silent."""
    ids = list(cloud.seed(instances=3)["instances"])
    online, silent, other = ids
    cloud.simulator.agents(cloud.number, [online, {"instance_id": silent, "online": False}, other])
    estate.target("instances", online, agent_enabled=True)
    estate.target("instances", silent, agent_enabled=True, scripts_enabled=True)
    estate.target("instances", other)
    look()
    return ids


def look() -> None:
    """Have AWS asked about agents now."""
    agents.list_all()
    while queue.run_next():
        pass


def listed(caller: Caller, query: str = "") -> list[Any]:
    answer = caller.get(f"/agents/{query}")
    assert answer.status == 200
    return list(answer.json)


def test_agents_are_those_of_targets_that_want_one(estate: Estate, instances: list[str]) -> None:
    online, silent = listed(estate.caller)
    assert online == {
        "id": online["id"],
        "instance_id": instances[0],
        "instance_name": "server-00001",
        "user": estate.caller.id,
        "account": estate.account,
        "region": "us-east-1",
        "policies": [estate.policy],
        "status": "O",
        "platform": "Amazon Linux 2023",
        "version": online["version"],
        "last_heartbeat": online["last_heartbeat"],
    }
    assert online["version"]
    assert (silent["instance_id"], silent["status"]) == (instances[1], "F")


def test_an_agent_names_all_policies_that_count_on_it(estate: Estate, instances: list[str]) -> None:
    body = {"name": "weekly", "account": estate.account}
    weekly = create(estate.caller, "/policies/", body)["id"]
    target = {"resource_id": instances[0], "region": "us-east-1", "agent_enabled": True}
    create(estate.caller, f"/policies/{weekly}/targets/instances/", target)
    assert listed(estate.caller)[0]["policies"] == [estate.policy, weekly]


def test_agents_are_filtered_searched_and_ordered(estate: Estate, instances: list[str]) -> None:
    def ids(query: str) -> list[str]:
        return [agent["instance_id"] for agent in listed(estate.caller, query)]

    online, silent, _ = instances
    assert ids("?status=o") == [online]
    assert ids("?status=F") == [silent]
    assert ids(f"?account={estate.account}") == [online, silent]
    assert ids("?account=4711") == []
    assert ids(f"?search={silent[4:]}") == [silent]
    assert ids("?search=SERVER-00002") == [silent]
    assert ids("?ordering=-instance_id") == sorted([online, silent], reverse=True)
    assert ids("?ordering=status") == [silent, online]
    assert ids("?ordering=-instance_name,account") == [silent, online]
    assert estate.caller.get("/agents/?status=x").codes == {"status": ["invalid_choice"]}
    page = estate.caller.get("/agents/?page_size=1").json
    assert page["count"] == 2


def test_everybody_sees_the_agents_of_his_own_accounts(
    estate: Estate, instances: list[str], root: Caller, stranger: Caller, independent: Caller
) -> None:
    assert len(listed(root, f"?user={estate.caller.id}")) == 2
    assert listed(stranger) == listed(independent) == []


def test_agents_came_with_the_second_version(estate: Estate) -> None:
    assert estate.caller.using("1.0.0").get("/agents/").status == 404
    assert estate.caller.using("1.1.0").get("/agents/").status == 200


def test_an_agent_that_no_target_wants_any_longer_is_gone(
    estate: Estate, instances: list[str]
) -> None:
    for target in estate.caller.get(f"{estate.path}targets/instances/").json:
        path = f"{estate.path}targets/instances/{target['id']}/"
        assert (
            estate.caller.put(path, {"agent_enabled": False, "scripts_enabled": False}).status
            == 200
        )
    look()
    assert listed(estate.caller) == []
