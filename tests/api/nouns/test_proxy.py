"""With a proxy among the settings, nothing goes to AWS beside it."""

from cpm.simulator.process import Simulator
from tests.api.cast import Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate, connect, create, keys
from tests.api.nouns.forward_proxy import PASSWORD, USER, forward_proxy
from tests.api.nouns.test_accounts import role


def test_all_calls_of_api_workers_and_roles_go_through_the_proxy(
    root: Caller, managed: Caller, simulator: Simulator, cloud: Cloud, other_cloud: Cloud
) -> None:
    assumed = {"name": "other", **role(other_cloud, cloud.number)}
    with forward_proxy() as proxy:
        settings = {"enabled": True, "address": "127.0.0.1", "port": proxy.port}
        root.post("/settings/proxy/", {**settings, "username": USER, "password": PASSWORD})
        volume_id = cloud.volume()
        simulator.reset_counts()
        estate = Estate.of(managed, cloud)
        estate.target("volumes", volume_id)
        assert estate.run()["status"] == "B"
        create(managed, "/accounts/dr/", {**assumed, "assume_from_account": estate.account})
        assert {"sts:GetCallerIdentity", "sts:AssumeRole"} <= simulator.counts().keys()
        assert len(proxy.asked) == sum(simulator.counts().values()) > 4
        assert all(address.startswith(simulator.endpoint) for address in proxy.asked)


def test_a_proxy_that_refuses_or_is_away_is_told_as_such(
    root: Caller, managed: Caller, cloud: Cloud
) -> None:
    with forward_proxy() as proxy:
        settings = {"enabled": True, "address": "127.0.0.1", "port": proxy.port}
        root.post("/settings/proxy/", {**settings, "username": USER, "password": "wrong"})
        body = keys(cloud)
        assert managed.post("/accounts/backup/", body).codes == {"non_field_errors": ["aws_error"]}
        assert proxy.asked == []
    answer = managed.post("/accounts/backup/", body)
    assert answer.codes == {"non_field_errors": ["aws_error"]}
    root.post("/settings/proxy/", {"enabled": False})
    assert connect(managed, cloud)["name"] == "prod"
