"""The licence and the proxy among the server's settings."""

import pytest

from cpm.engine.settings import ProxySettings
from cpm.models.audit import AuditEntry
from tests.api.cast import Caller

PROXY, LICENCE = "/settings/proxy/", "/settings/license/"
NO_PROXY = {"enabled": False, "address": "", "port": None, "username": ""}
UNLIMITED = {"max_accounts": None, "max_users": None, "cross_account": True}


def test_a_server_begins_without_proxy_and_unlimited(root: Caller) -> None:
    assert root.get(PROXY).json == NO_PROXY
    assert root.get(LICENCE).json == UNLIMITED


def test_a_proxy_is_set_and_its_password_stays_until_another_comes(root: Caller) -> None:
    body = {"enabled": True, "address": " proxy.example.com ", "port": "3128"}
    shown = root.post(PROXY, {**body, "username": "u", "password": "s3cret!"})
    assert shown.status == 200
    assert shown.json == {
        "enabled": True,
        "address": "proxy.example.com",
        "port": 3128,
        "username": "u",
    }
    sealed = ProxySettings.current().sealed_password
    assert sealed
    assert "s3cret!" not in sealed
    assert root.post(PROXY, {"username": ""}).json["username"] == ""
    assert ProxySettings.current().sealed_password == sealed
    root.post(PROXY, {"password": ""})
    assert ProxySettings.current().sealed_password == ""
    trail = AuditEntry.objects.values_list("description", flat=True)
    assert not any("s3cret!" in description for description in trail)


def test_a_proxy_that_is_off_forgets_nothing(root: Caller) -> None:
    root.post(PROXY, {"enabled": True, "address": "[::1]", "port": 3128})
    assert root.post(PROXY, {"enabled": False}).json["address"] == "[::1]"
    assert root.post(PROXY, {"enabled": True}).json["enabled"] is True


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({"enabled": True}, {"address": ["required"], "port": ["required"]}),
        ({"enabled": True, "address": "a", "port": None}, {"port": ["required"]}),
        ({"address": "http://proxy"}, {"address": ["invalid"]}),
        ({"address": "a b"}, {"address": ["invalid"]}),
        ({"address": None}, {"address": ["null"]}),
        ({"port": 0}, {"port": ["min_value"]}),
        ({"port": 65536}, {"port": ["max_value"]}),
        ({"password": None}, {"password": ["null"]}),
    ],
)
def test_what_no_proxy_can_be_is_refused(
    root: Caller, values: dict[str, object], codes: dict[str, list[str]]
) -> None:
    answer = root.post(PROXY, values)
    assert (answer.status, answer.codes) == (400, codes)
    assert root.get(PROXY).json == NO_PROXY


def test_a_licence_is_set_and_acts_at_once(root: Caller, managed: Caller) -> None:
    changed = root.post(LICENCE, {"max_users": 1, "cross_account": "no"}).json
    assert changed == {"max_accounts": None, "max_users": 1, "cross_account": False}
    body = {"username": "one_more", "password": "Tr0ub4dor&3"}
    assert root.post("/users/", body).codes == {"non_field_errors": ["license"]}
    assert root.post(LICENCE, {"max_users": None}).json["max_users"] is None
    assert root.post("/users/", body).status == 201
    assert root.post(LICENCE, {"max_users": 0}).json["max_users"] == 0
    assert len(root.get("/users/").json) == 3
    assert root.post(LICENCE, {"max_users": -1}).codes == {"max_users": ["min_value"]}


def test_licence_and_proxy_are_roots(managed: Caller, delegate: Caller) -> None:
    for who in (managed, delegate):
        for path in (PROXY, LICENCE):
            assert who.get(path).status == 403
            assert who.post(path, {}).status == 403
