"""Which version and form an Accept header gets."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from cpm.api.versions import Version, further_spellings
from tests.api.cast import Caller

LATEST = "1.2.0"


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        ("", LATEST),
        ("*/*", LATEST),
        ("*/*;", LATEST),
        ("application/*", LATEST),
        ("application/json", LATEST),
        ("application/json;", LATEST),
        ("APPLICATION/JSON ; Version=1.1.0", "1.1.0"),
        ("application/json; version=1.2.0", "1.2.0"),
        ("application/json; version=1.2", "1.2.0"),
        ("application/json; version=1.1.0", "1.1.0"),
        ("application/json;version=1.1", "1.1.0"),
        ("application/json; version=1.0.0;", "1.0.0"),
        ("application/json; version=1.0", "1.0.0"),
        ("application/json; version=1", "1.0.0"),
        ('application/json; version="1.1"', "1.1.0"),
        ("*/*; version=1.1", "1.1.0"),
        ("application/*; version=1", "1.0.0"),
        ("application/json; version: 1.1", LATEST),
        ("application/json; charset=utf-8", LATEST),
        ("text/html, application/json;version=1.1;q=0.9, */*;q=0.1", "1.1.0"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", LATEST),
        ("application/json;version=1.0;q=0.2, application/json;version=1.1;q=0.3", "1.1.0"),
        ("application/json;version=7, application/json;version=1.1;q=0.3", "1.1.0"),
        ("*/*, application/json;version=1.1", "1.1.0"),
    ],
)
def test_an_accept_header_chooses_the_version(root: Caller, accept: str, version: str) -> None:
    answer = root.get("/regions/", accept=accept)
    assert answer.status == 200
    assert answer.headers["API-Version"] == version
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "accept",
    [
        "application/json; version=1.3.0",
        "application/json; version=1.7",
        "application/json; version=01.1",
        "application/json; version=",
        "*/*; version=2",
        "text/csv",
        "text/csv; version=1.1.0",
        "text/csv;",
        "text/html",
        "image/*",
        "application/json;q=0",
        "*/*, application/json;q=0, application/*;q=0",
    ],
)
def test_what_cannot_be_produced_is_refused(root: Caller, accept: str) -> None:
    answer = root.get("/regions/", accept=accept)
    assert answer.status == 406
    assert answer.codes == {"non_field_errors": ["not_acceptable"]}
    assert "API-Version" not in answer.headers


def test_a_setting_adds_spellings_of_versions() -> None:
    assert further_spellings(("1.7=1.2.0", " 2 = 1.1 ")) == {
        "1.7": Version.V1_2,
        "2": Version.V1_1,
    }
    for nonsense in ("1.7", "1.7=", "1.7=9", "=1.2.0", ""):
        with pytest.raises(ImproperlyConfigured):
            further_spellings((nonsense,))


def test_no_accept_header_means_the_latest_version(root: Caller) -> None:
    answer = root.get("/regions/")
    assert (answer.status, answer.headers["API-Version"]) == (200, LATEST)


def test_a_refused_version_has_no_effect(root: Caller) -> None:
    body = {"name": "never", "every_unit": "D", "every_how_many": 1}
    assert root.post("/schedules/", body, accept="application/json; version=3").status == 406
    assert root.get("/schedules/").json == []


def test_the_form_is_checked_before_the_token(nobody: Caller) -> None:
    assert nobody.get("/regions/", accept="text/html").status == 406
    assert nobody.get("/regions/").status == 401
