"""Workers: where data is moved, by account and region."""

from datetime import timedelta
from typing import Any

import pytest

from cpm.kernel import clock
from cpm.models.workers import Worker
from cpm.resources.machines import architecture
from tests.api.cast import Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import connect, create

PATH = "/workers/"
# Types of machine by what the server's own software runs on.
FIT, UNFIT = ("c5.large", "c6g.large") if architecture() == "x86_64" else ("c6g.large", "c5.large")


@pytest.fixture
def body(managed: Caller, cloud: Cloud) -> dict[str, Any]:
    """What makes a worker."""
    return {"account": connect(managed, cloud)["id"], "region": 2}


def test_a_worker_has_what_a_machine_is_launched_with(
    managed: Caller, body: dict[str, Any]
) -> None:
    made = create(managed, PATH, {**body, "subnet": "subnet-1", "max_parallel_blocks": 16})
    assert made == {
        "id": made["id"],
        "user": managed.id,
        "account": body["account"],
        "region": "us-east-1",
        "key_pair": None,
        "vpc": None,
        "subnet": "subnet-1",
        "security_group": None,
        "network_access": "D",
        "instance_type": None,
        "max_parallel_blocks": 16,
    }
    path = f"{PATH}{made['id']}/"
    changed = managed.put(path, {"instance_type": FIT, "subnet": None, "account": 1})
    assert changed.json == {**made, "instance_type": FIT, "subnet": None}
    assert managed.get(f"{PATH}?region=us-east-1").json == [changed.json]
    assert managed.get(f"{PATH}?region=eu-west-1").json == []
    refused = managed.delete(f"/accounts/backup/{body['account']}/")
    assert refused.codes == {"non_field_errors": ["in_use"]}
    assert managed.delete(path).status == 204
    assert managed.get(PATH).json == []
    assert managed.delete(f"/accounts/backup/{body['account']}/").status == 204


def test_a_type_of_machine_that_does_not_run_the_servers_software_is_refused(
    managed: Caller, body: dict[str, Any]
) -> None:
    refused = managed.post(PATH, {**body, "instance_type": UNFIT})
    assert refused.codes == {"instance_type": ["invalid"]}
    assert f"the server's software {architecture()}" in str(refused.json)
    made = create(managed, PATH, {**body, "instance_type": FIT})
    path = f"{PATH}{made['id']}/"
    for wrong in (UNFIT, "c99.enormous"):
        assert managed.put(path, {"instance_type": wrong}).codes == refused.codes
    assert managed.get(path).json == made
    unasked = managed.put(f"{path}?validate=false", {"instance_type": UNFIT})
    assert unasked.json == {**made, "instance_type": UNFIT}
    assert managed.put(path, {"subnet": "subnet-1"}).status == 200


def test_a_type_of_machine_that_aws_does_not_tell_of_is_taken(
    managed: Caller, cloud: Cloud, body: dict[str, Any]
) -> None:
    cloud.simulator.faults([{"op": "ec2:DescribeInstanceTypes", "kind": "denied"}])
    create(managed, PATH, {**body, "instance_type": UNFIT})


def test_a_change_ends_the_pause_after_machines_that_came_to_nothing(
    managed: Caller, body: dict[str, Any]
) -> None:
    made = create(managed, PATH, body)
    Worker.objects.update(failures=2, paused_until=clock.now() + timedelta(hours=1))
    assert managed.put(f"{PATH}{made['id']}/", {"instance_type": FIT}).status == 200
    worker = Worker.objects.get()
    assert (worker.failures, worker.paused_until) == (0, None)


def test_a_proxy_needs_an_address_and_a_port_and_its_password_stays_inside(
    managed: Caller, body: dict[str, Any]
) -> None:
    proxied = {**body, "network_access": "P"}
    required = {"proxy_address": ["required"], "proxy_port": ["required"]}
    assert managed.post(PATH, proxied).codes == required
    proxy = {"proxy_address": "proxy.example.com", "proxy_port": 3128, "proxy_user": "u"}
    made = create(managed, PATH, {**proxied, **proxy, "proxy_password": "let me out"})
    assert {name: made[name] for name in proxy} == proxy
    assert "proxy_password" not in made
    path = f"{PATH}{made['id']}/"
    assert managed.put(path, {"proxy_port": None}).codes == {"proxy_port": ["required"]}
    sealed = Worker.objects.get().sealed_proxy_password
    assert b"let me out" not in bytes(sealed or b"")
    assert managed.put(path, {"proxy_port": 8080}).json == {**made, "proxy_port": 8080}
    assert bytes(Worker.objects.get().sealed_proxy_password or b"") == bytes(sealed or b"x")
    direct = managed.put(path, {"network_access": "D", "proxy_password": None}).json
    assert proxy.keys().isdisjoint(direct)
    assert Worker.objects.get().sealed_proxy_password is None


def test_there_is_one_for_each_account_and_region_of_its_owner(
    managed: Caller, root: Caller, body: dict[str, Any]
) -> None:
    first = create(managed, PATH, body)
    unique = {"non_field_errors": ["unique"]}
    assert managed.post(PATH, {**body, "region": "us-east-1"}).codes == unique
    second = create(managed, PATH, {**body, "region": "eu-west-1"})
    assert managed.put(f"{PATH}{second['id']}/", {"region": 2}).codes == unique
    assert managed.put(f"{PATH}{first['id']}/", {"region": "2"}).status == 200
    assert root.post(PATH, body).codes == {"account": ["does_not_exist"]}
    assert {each["id"] for each in root.get(PATH).json} == {first["id"], second["id"]}
