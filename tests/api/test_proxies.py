"""Where clients are, as limits and the audit trail see it, with and without proxies."""

from dataclasses import replace
from typing import Any

import pytest

from cpm.models.audit import AuditEntry
from tests.api.cast import ADDRESS, Caller

OBTAIN = "/token/obtain/api_key/"
CLIENT, OTHER = "198.51.100.9", "203.0.113.5"


@pytest.fixture
def proxies(settings: Any) -> None:
    """A proxy at the address from which tests call, and more of them in other networks."""
    trusted = (ADDRESS, "10.0.0.0/8", "2001:db8::/32")
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, trusted_proxies=trusted)


def seen_from(caller: Caller, forwarded: str) -> str:
    """The address that the trail has of a bad attempt."""
    assert caller.post(OBTAIN, {"api_key": "wrong"}, x_forwarded_for=forwarded).status == 401
    return AuditEntry.objects.latest("pk").source_address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (CLIENT, CLIENT),
        (f"{OTHER}, {CLIENT}", CLIENT),  # what the client itself has written
        (f"{OTHER}, {CLIENT}, 10.1.2.3", CLIENT),  # two proxies
        (f"{CLIENT}, 10.1.2.3, 2001:db8::7", CLIENT),
        ("10.9.9.9, 10.1.2.3", "10.9.9.9"),  # a client in a network of proxies
        (f"{CLIENT}:4711", CLIENT),
        ("[2001:db9::1]:443", "2001:db9::1"),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"{OTHER}, nonsense", ADDRESS),
        (f"{OTHER},, 10.1.2.3", "10.1.2.3"),
        ("", ADDRESS),
    ],
)
def test_the_client_is_the_last_whom_no_proxy_is_trusted_to_be(
    nobody: Caller, proxies: None, forwarded: str, address: str
) -> None:
    assert seen_from(nobody, forwarded) == address


def test_without_trusted_proxies_nobody_says_where_he_is(nobody: Caller) -> None:
    assert seen_from(nobody, CLIENT) == ADDRESS


def test_who_is_no_trusted_proxy_cannot_say_where_he_is(nobody: Caller, settings: Any) -> None:
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, trusted_proxies=("10.0.0.0/8",))
    assert seen_from(nobody, f"{CLIENT}, 10.0.0.1") == ADDRESS
    statuses = [
        nobody.post(OBTAIN, {"api_key": "wrong"}, x_forwarded_for=f"10.0.0.{number}").status
        for number in range(11)
    ]
    assert statuses[-1] == 429


def test_a_change_is_audited_with_the_address_of_the_client(managed: Caller, proxies: None) -> None:
    body = {"name": "nightly", "every_unit": "D", "every_how_many": 1}
    assert managed.post("/schedules/", body, x_forwarded_for=CLIENT).status == 201
    assert AuditEntry.objects.latest("pk").source_address == CLIENT


def test_clients_behind_a_proxy_are_limited_apart_from_each_other(
    nobody: Caller, proxies: None
) -> None:
    for _ in range(10):
        seen_from(nobody, CLIENT)
    assert nobody.post(OBTAIN, {"api_key": "wrong"}, x_forwarded_for=CLIENT).status == 429
    assert seen_from(nobody, OTHER) == OTHER
