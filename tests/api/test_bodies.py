"""What bodies may be: JSON and forms, and what is refused of them."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from tests.api.cast import Answer, Caller

URLENCODED = "application/x-www-form-urlencoded"
SCHEDULE = {"name": "nightly", "every_unit": "D", "every_how_many": 1}


def form(caller: Caller, method: str, path: str, values: Any, *, multipart: bool = False) -> Answer:
    if multipart:
        body = encode_multipart(BOUNDARY, dict(values))
        return caller.send(method, path, body, content_type=MULTIPART_CONTENT)
    return caller.send(method, path, urlencode(values, doseq=True), content_type=URLENCODED)


@pytest.mark.parametrize("multipart", [False, True])
def test_forms_say_what_json_says(root: Caller, *, multipart: bool) -> None:
    windows = [{"day": "all", "start_time": "08:00", "end_time": "09:00"}]
    values = {
        **SCHEDULE,
        "start_date": "2030-01-01",
        "end_date": "",
        "allow_on_sunday": "oFf",
        "allow_on_monday": "YES",
        "disable_times": json.dumps(windows),
    }
    answer = form(root, "POST", "/schedules/", values, multipart=multipart)
    assert answer.status == 201
    created = answer.json
    assert created["every_how_many"] == 1
    assert created["start_date"] == "2030-01-01T00:00:00Z"
    assert created["end_date"] is None
    assert created["allow_on_sunday"] is False
    assert created["allow_on_monday"] is True
    assert created["allow_on_friday"] is True
    assert created["disable_times"] == windows


def test_what_a_form_leaves_out_stays_as_it_is(root: Caller) -> None:
    created = root.post("/schedules/", {**SCHEDULE, "allow_on_sunday": False}).json
    path = f"/schedules/{created['id']}/"
    changed = form(root, "PUT", path, {"description": "by form"}).json
    assert changed["allow_on_sunday"] is False
    assert changed["description"] == "by form"


@pytest.mark.parametrize(
    "profile",
    [
        {"profile.max_accounts": "3", "profile.allow_account_changes": "0"},
        {"profile": '{"max_accounts": 3, "allow_account_changes": false}'},
    ],
)
def test_nested_objects_come_as_dotted_keys_or_as_json(
    root: Caller, profile: dict[str, str]
) -> None:
    values = {"username": "formed", "password": "Tr0ub4dor&3", **profile}
    created = form(root, "POST", "/users/", values)
    assert created.status == 201
    assert created.json["profile"]["max_accounts"] == 3
    assert created.json["profile"]["allow_account_changes"] is False
    path = f"/users/{created.json['id']}/"
    cleared = form(root, "PUT", path, {"profile.max_accounts": ""}).json["profile"]
    assert cleared["max_accounts"] is None
    assert cleared["allow_account_changes"] is False


def test_faults_in_forms_are_named_like_those_in_json(root: Caller) -> None:
    values = {"username": "x", "password": "Tr0ub4dor&3", "profile.max_accounts": "many"}
    assert form(root, "POST", "/users/", values).codes == {"profile.max_accounts": ["invalid"]}
    values = {"username": "x", "password": "Tr0ub4dor&3", "profile": "nonsense"}
    assert form(root, "POST", "/users/", values).codes == {"profile": ["invalid"]}


def nest(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "parse_error"),
        (b"name=x", "parse_error"),
        (b'{"name": NaN}', "parse_error"),
        (b'{"name": Infinity}', "parse_error"),
        (b'{"name": 1e999}', "parse_error"),
        (b'{"name": "\xff"}', "parse_error"),
        (b'{"name": "\\ud800"}', "parse_error"),
        (b'"\xff"', "parse_error"),
        (b"[" * 100_000, "parse_error"),
        (nest(65), "parse_error"),
        (b"[" * 65 + b"]" * 65, "parse_error"),
        (b"[]", "invalid"),
        (b'"text"', "invalid"),
        (b"null", "invalid"),
        (b"17", "invalid"),
    ],
)
def test_what_is_no_object_in_json_is_refused_as_a_whole(
    root: Caller, body: bytes, code: str
) -> None:
    answer = root.post("/schedules/", body)
    assert answer.status == 400
    assert answer.codes == {"non_field_errors": [code]}


def test_sixty_four_levels_are_not_too_deep(root: Caller) -> None:
    answer = root.post("/schedules/", nest(64))
    assert set(answer.codes) == {"name", "every_unit", "every_how_many"}


def test_an_absent_body_is_an_empty_object(root: Caller) -> None:
    required = {"name": ["required"], "every_unit": ["required"], "every_how_many": ["required"]}
    assert root.post("/schedules/").codes == required
    assert root.send("POST", "/schedules/", content_type="text/plain").codes == required


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "nonsense", ""])
def test_other_content_types_are_refused(root: Caller, content_type: str) -> None:
    answer = root.send("POST", "/schedules/", json.dumps(SCHEDULE), content_type=content_type)
    assert answer.status == 415
    assert answer.codes == {"non_field_errors": ["unsupported_media_type"]}


def test_content_types_are_read_without_their_parameters(root: Caller) -> None:
    content_type = "Application/JSON; charset=UTF-8"
    answer = root.send("POST", "/schedules/", json.dumps(SCHEDULE), content_type=content_type)
    assert answer.status == 201


def test_a_body_over_the_limit_is_too_large(root: Caller) -> None:
    padding = "x" * (1024 * 1024)
    answer = root.post("/schedules/", {**SCHEDULE, "padding": padding})
    assert answer.status == 413
    assert answer.codes == {"non_field_errors": ["too_large"]}
    just_fits = json.dumps({**SCHEDULE, "padding": ""})
    padding = "x" * (1024 * 1024 - len(just_fits))
    assert root.post("/schedules/", {**SCHEDULE, "padding": padding}).status == 201


def test_broken_forms_are_refused(root: Caller) -> None:
    bad = [
        (b"name=%ff", URLENCODED),
        (b"name=\xff", URLENCODED),
        (b"&".join([b"a=1"] * 2000), URLENCODED),
        (b"--other\r\n\r\n", "multipart/form-data"),
        (b"nonsense", "multipart/form-data; boundary=\xe4"),
    ]
    for body, content_type in bad:
        answer = root.send("POST", "/schedules/", body, content_type=content_type)
        assert answer.status == 400, body[:20]
        assert answer.codes == {"non_field_errors": ["parse_error"]}


def test_all_faults_are_told_at_once(root: Caller) -> None:
    root.post("/schedules/", SCHEDULE)
    body = {
        "name": "nightly",
        "description": "a\x00b",
        "user": 4711,
        "every_unit": "d",
        "every_how_many": 0,
        "start_date": "yesterday",
        "disable_times": [{"day": "all"}, 5],
        "allow_on_sunday": "perhaps",
        "allow_on_monday": None,
    }
    assert root.post("/schedules/", body).codes == {
        "name": ["unique"],
        "description": ["invalid"],
        "user": ["does_not_exist"],
        "every_unit": ["invalid_choice"],
        "every_how_many": ["min_value"],
        "start_date": ["invalid"],
        "disable_times": ["required", "required", "invalid"],
        "allow_on_sunday": ["invalid"],
        "allow_on_monday": ["null"],
    }


@pytest.mark.parametrize("value", [[], {}, True, 3.5, ["x"], {"a": 1}])
def test_wrong_types_are_faults_of_their_fields(root: Caller, value: object) -> None:
    body = dict.fromkeys(
        ["name", "description", "every_unit", "start_date", "user", "allow_on_sunday"], value
    )
    answer = root.post("/schedules/", {**body, "every_how_many": 1})
    assert answer.status == 400
    expected = {"name": ["invalid"], "description": ["invalid"], "every_unit": ["invalid_choice"]}
    assert expected.items() <= answer.codes.items()
    assert answer.codes["start_date"] == ["invalid"]
    assert answer.codes["user"] == ["incorrect_type"]


def test_unknown_and_read_only_keys_are_ignored(root: Caller, managed: Caller) -> None:
    body = {**SCHEDULE, "id": 4711, "last_modified": "1999-01-01", "colour": "red"}
    created = root.post("/schedules/", body).json
    assert created["id"] != 4711
    assert not created["last_modified"].startswith("1999")
    changed = root.put(f"/schedules/{created['id']}/", {"user": managed.id, "id": 9})
    assert changed.json["user"] == root.id


def test_numbers_and_ids_may_come_as_texts(root: Caller, managed: Caller) -> None:
    body = {**SCHEDULE, "every_how_many": "12", "user": str(managed.id)}
    created = root.post("/schedules/", body).json
    assert (created["every_how_many"], created["user"]) == (12, managed.id)


def test_a_body_that_a_method_does_not_read_does_no_harm(root: Caller) -> None:
    created = root.post("/schedules/", SCHEDULE).json
    path = f"/schedules/{created['id']}/"
    assert root.send("GET", path, b"\xff\xfe", content_type="x/y").status == 200
    assert root.send("DELETE", path, b"\xff\xfe", content_type="x/y").status == 204
