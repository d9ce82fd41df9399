"""Several at once: what may be there once is there once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from django.db import connection

from cpm.models.users import User
from tests.api.cast import Answer, Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate, keys

_AT_ONCE = 6


def at_once(send: Callable[[int], Answer]) -> list[int]:
    """Send several requests at the same time; returns their statuses in order."""
    barrier = Barrier(_AT_ONCE)

    def one(number: int) -> int:
        try:
            barrier.wait(timeout=60)
            return send(number).status
        finally:
            connection.close()

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return sorted(threads.map(one, range(_AT_ONCE)))


def test_the_last_account_that_a_limit_allows_is_made_once(
    database: None, managed: Caller, cloud: Cloud
) -> None:
    User.objects.filter(pk=managed.id).update(max_accounts=1)
    path = "/accounts/backup/?validate=false"
    statuses = at_once(lambda number: managed.post(path, keys(cloud, name=f"a{number}")))
    assert statuses == [201, *[400] * (_AT_ONCE - 1)]
    assert len(managed.get("/accounts/").json) == 1


def test_one_name_is_taken_once(database: None, managed: Caller, estate: Estate) -> None:
    body = {"name": "weekly", "account": estate.account}
    statuses = at_once(lambda _: managed.post("/policies/", body))
    assert statuses == [201, *[400] * (_AT_ONCE - 1)]


def test_a_policy_runs_once_at_a_time(database: None, managed: Caller, estate: Estate) -> None:
    estate.target("volumes", estate.cloud.volume())
    statuses = at_once(lambda _: managed.post(f"{estate.path}backups/"))
    assert statuses == [201, *[409] * (_AT_ONCE - 1)]


def test_a_policy_is_made_in_an_account_or_the_account_is_deleted(
    database: None, managed: Caller, cloud: Cloud
) -> None:
    account = managed.post("/accounts/backup/?validate=false", keys(cloud)).json["id"]

    def send(number: int) -> Answer:
        if number % 2:
            return managed.delete(f"/accounts/backup/{account}/")
        return managed.post("/policies/", {"name": f"p{number}", "account": account})

    assert set(at_once(send)) <= {201, 204, 400, 404}
    policies = managed.get("/policies/").json
    accounts = managed.get("/accounts/").json
    assert bool(policies) == bool(accounts)
