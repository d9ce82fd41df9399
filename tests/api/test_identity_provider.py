"""The identity provider among the server's settings."""

from typing import Any

import pytest

from cpm.models.audit import AuditEntry
from tests.api.cast import Caller
from tests.saml.keys import key_pair

PATH = "/settings/identity_provider/"
NONE = {
    "enabled": False,
    "entity_id": "",
    "login_url": "",
    "logout_url": "",
    "name_id_format": "unspecified",
    "x509_cert": "",
}
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"


def provider(**values: object) -> dict[str, Any]:
    """What connects a provider."""
    return {
        "enabled": True,
        "entity_id": "https://idp.example/metadata",
        "login_url": "https://idp.example/sso?tenant=1",
        "x509_cert": key_pair("idp").certificate.strip(),
        **values,
    }


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0", "1.2.0"])
def test_a_server_begins_without_a_provider(root: Caller, version: str) -> None:
    assert root.using(version).get(PATH).json == NONE
    assert list(root.get(PATH).json) == list(NONE)


def test_a_provider_is_connected_and_what_is_left_out_stays(root: Caller) -> None:
    answer = root.post(PATH, provider())
    assert answer.status == 200
    assert answer.json == NONE | provider()
    changed = root.post(PATH, {"logout_url": "http://idp:8080/slo", "name_id_format": PERSISTENT})
    assert changed.json == {
        **(NONE | provider()),
        "logout_url": "http://idp:8080/slo",
        "name_id_format": PERSISTENT,
    }
    assert root.post(PATH, {"enabled": False}).json == changed.json | {"enabled": False}
    assert root.post(PATH, {"enabled": True}).json == root.get(PATH).json == changed.json
    assert AuditEntry.objects.filter(object="identity_provider").count() == 4


def test_a_certificate_may_be_pem_or_bare_base64_and_more_than_one(root: Caller) -> None:
    pem, other = key_pair("idp").certificate, key_pair("other").certificate
    for given in (pem, pem.replace("\n", "\r\n"), key_pair("idp").bare, f"{pem}{other}"):
        assert root.post(PATH, {"x509_cert": f" {given}\n"}).json["x509_cert"] == given.strip()


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        (
            {"enabled": True},
            {name: ["required"] for name in ("entity_id", "login_url", "x509_cert")},
        ),
        (provider(entity_id=""), {"entity_id": ["required"]}),
        (provider(login_url="x"), {"login_url": ["invalid"]}),
        ({"login_url": "javascript:alert(1)"}, {"login_url": ["invalid"]}),
        ({"login_url": "https:///sso"}, {"login_url": ["invalid"]}),
        ({"login_url": "https://idp:port/"}, {"login_url": ["invalid"]}),
        ({"logout_url": "https://idp.example/a b"}, {"logout_url": ["invalid"]}),
        ({"logout_url": "https://idp/" + "a" * 2000}, {"logout_url": ["max_length"]}),
        ({"entity_id": "a\nb"}, {"entity_id": ["invalid"]}),
        ({"entity_id": "a" * 1001}, {"entity_id": ["max_length"]}),
        ({"entity_id": None}, {"entity_id": ["null"]}),
        ({"name_id_format": "kerberos"}, {"name_id_format": ["invalid_choice"]}),
        ({"name_id_format": ""}, {"name_id_format": ["invalid_choice"]}),
        ({"x509_cert": "not a certificate"}, {"x509_cert": ["invalid"]}),
        ({"x509_cert": key_pair("idp").key}, {"x509_cert": ["invalid"]}),
        ({"x509_cert": key_pair("idp").bare[:-8]}, {"x509_cert": ["invalid"]}),
        ({"enabled": "perhaps"}, {"enabled": ["invalid"]}),
    ],
)
def test_what_no_provider_can_be_is_refused(
    root: Caller, values: dict[str, object], codes: dict[str, list[str]]
) -> None:
    answer = root.post(PATH, values)
    assert (answer.status, answer.codes) == (400, codes)
    assert root.get(PATH).json == NONE


def test_what_an_enabled_provider_needs_is_not_taken_from_it(root: Caller) -> None:
    root.post(PATH, provider())
    for name in ("entity_id", "login_url", "x509_cert"):
        assert root.post(PATH, {name: ""}).codes == {name: ["required"]}
    assert root.post(PATH, {"enabled": False, "x509_cert": ""}).status == 200


def test_the_provider_is_roots(root: Caller, managed: Caller) -> None:
    assert managed.get(PATH).status == managed.post(PATH, {}).status == 403
    assert root.put(PATH, {}).status == 405
