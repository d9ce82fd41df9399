"""The API's description of itself, and whether it is true."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError  # type: ignore[import-untyped]  # has no types

from cpm.api import openapi_file, operations_file
from cpm.api.guide import OPERATIONS as GUIDE
from cpm.api.routes import OPERATIONS
from tests.api import document
from tests.api.cast import Caller

VERSIONS = ["1.0.0", "1.1.0", "1.2.0"]
DOCS = Path(__file__).parents[2] / "docs"


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (one for one in [value.get("$ref")] if isinstance(one, str))
        for inner in value.values():
            yield from refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from refs(inner)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_description_is_public_and_of_the_version_asked_for(
    nobody: Caller, version: str
) -> None:
    answer = nobody.get("/schema/", accept=f"application/json; version={version}")
    assert (answer.status, answer.headers["API-Version"]) == (200, version)
    assert answer.json == document.of_version(version)
    assert answer.json["openapi"] == "3.1.0"
    assert answer.json["info"]["version"] == version


@pytest.mark.parametrize("version", VERSIONS)
def test_every_reference_leads_somewhere(version: str) -> None:
    described = document.of_version(version)
    for ref in set(refs(described)):
        place = described
        for part in ref.removeprefix("#/").split("/"):
            place = place[part]


def test_every_operation_is_described_once_under_its_own_name() -> None:
    described = document.of_version("1.2.0")
    found = [one for path in described["paths"].values() for one in path.values()]
    assert len(found) == len(OPERATIONS)
    assert len({one["operationId"] for one in found}) == len(found)
    assert all(one["summary"] for one in found)


def test_old_versions_are_described_without_what_came_later() -> None:
    later = {path for (_, path), version in GUIDE.items() if version == "1.1.0"}
    old = {path for (_, path), version in GUIDE.items() if version == "1.0.0"}
    assert not document.of_version("1.0.0")["paths"].keys() & (later - old)
    schemas = {
        version: document.of_version(version)["components"]["schemas"] for version in VERSIONS
    }
    assert "max_dynamodb_gib" not in schemas["1.0.0"]["Profile"]["properties"]
    assert "max_dynamodb_gib" in schemas["1.1.0"]["Profile"]["properties"]


def test_what_is_made_leads_to_what_can_be_done_with_it() -> None:
    paths = document.of_version("1.2.0")["paths"]
    made = paths["/policies/"]["post"]["responses"]["201"]["links"]
    assert {"put_policies_id", "post_policies_id_backups", "get_policies_policy_id_targets"} <= (
        made.keys()
    )
    run = paths["/policies/{id}/backups/"]["post"]["responses"]["201"]["links"]
    assert run["get_backups_id"]["parameters"] == {"id": "$response.body#/id"}
    targets = "/policies/{policy_id}/targets/volumes/"
    added = paths[targets]["post"]["responses"]["201"]["links"]
    assert added["delete_policies_policy_id_targets_volumes_id"]["parameters"] == {
        "policy_id": "$request.path.policy_id",
        "id": "$response.body#/id",
    }


def test_the_files_in_the_documentation_are_up_to_date() -> None:
    """`make openapi` makes them so."""
    assert (DOCS / "openapi.yaml").read_text() == openapi_file.text()
    assert (DOCS / "operations.md").read_text() == operations_file.text()


def test_the_page_to_read_needs_nothing_from_elsewhere(nobody: Caller) -> None:
    answer = nobody.get("/docs/", accept="text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html"
    page = answer.body.decode()
    assert "<script" not in page
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for operation in OPERATIONS:
        assert operation.path in page
    assert nobody.get("/docs/", accept="application/json").status == 406


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_sent_is_what_is_described(root: Caller, version: str) -> None:
    old = root.using(version)
    body = {"every_unit": "D", "every_how_many": 1}
    window = {"day": "all", "start_time": "00:00", "end_time": "01:00"}
    old.post(
        "/schedules/", {**body, "name": "full", "end_date": "2999-01-01", "disable_times": [window]}
    )
    old.post("/schedules/", {**body, "name": "bare", "every_unit": "W"})
    for path, name in (("/schedules/", "Schedule"), ("/users/", "User"), ("/regions/", "Region")):
        rows = old.get(path).json
        assert rows
        for row in rows:
            document.check(row, name, version)
        document.check(old.get(f"{path}?page_size=1").json, f"{name}Page", version)
    document.check(old.get("/schedules/0/").json, "Errors", version)


def test_a_description_of_something_else_would_be_noticed(root: Caller) -> None:
    (row,) = root.get("/users/").json
    for wrong in ({**row, "colour": "red"}, {**row, "id": "1"}, {**row, "profile": {}}):
        with pytest.raises(ValidationError):
            document.check(wrong, "User")
