"""Whatever is sent, the answer is one of the API's, and never an error of the server."""

import re
from typing import Any

from tests.api.cast import Caller
from tests.api.nouns.cloud import Cloud
from tests.api.nouns.estate import Estate
from tests.api.nouns.everything import OURS, address

WRITES = [each for each in OURS if each.method in ("POST", "PUT")]

VALUES: list[Any] = [
    *(None, True, -1, 1.5, 10**40, "", " ", "x" * 5000, "a\x00b", "\ud800", "<>\\ü", "-1"),
    *([], [None], [[]], [{}], {}, {"a": None}, {"a": {"b": []}}, ["x", 1, None]),
]


def test_no_value_of_any_field_is_too_strange(
    estate: Estate, ids: dict[str, int], cloud: Cloud
) -> None:
    for operation in WRITES:
        path = f"{address(operation, ids)}?validate=false"
        for field in operation.body or ():
            for value in VALUES:
                answer = estate.caller.send(operation.method, path, {field.name: value})
                assert answer.status < 500, (operation, field.name, value)
                if answer.status == 400:
                    assert answer.codes


def test_no_form_is_too_strange(estate: Estate, ids: dict[str, int]) -> None:
    kind = "application/x-www-form-urlencoded"
    for operation in WRITES:
        path = f"{address(operation, ids)}?validate=false"
        for field in operation.body or ():
            for text in (
                f"{field.name}=%00",
                f"{field.name}=1&{field.name}=x",
                f"{field.name}.a=1",
            ):
                answer = estate.caller.send(operation.method, path, text, content_type=kind)
                assert answer.status < 500, (operation, text)


def test_no_query_is_too_strange(estate: Estate, ids: dict[str, int]) -> None:
    for operation in OURS:
        if operation.method != "GET":
            continue
        path = address(operation, ids)
        names = [*(operation.listing.filters if operation.listing else ()), "search", "ordering"]
        for name in [*names, "page", "page_size", "days_ahead"]:
            for value in ("", "x", "-1", "9" * 30, "%00", "%ED%A0%80", "%FF", "a,b", "2026-13-01"):
                answer = estate.caller.get(f"{path}?{name}={value}")
                assert answer.status in (200, 400, 404), (path, name, value)


def test_foreign_and_absurd_ids_are_not_there(
    estate: Estate, ids: dict[str, int], stranger: Caller
) -> None:
    for operation in OURS:
        path = address(operation, ids)
        for wrong in ("0", "999999999", "9" * 40, "abc", "-1", "%00"):
            for start in [found.start() for found in re.finditer(r"/[0-9]+/", path)]:
                changed = path[: start + 1] + wrong + path[path.index("/", start + 1) :]
                answer = estate.caller.send(operation.method, changed, {})
                assert answer.status == 404, (operation, changed)
        if "{" in operation.path:
            answer = stranger.send(operation.method, path, {})
            assert answer.status == 404, operation


def test_nobody_gets_in_without_a_token(ids: dict[str, int], nobody: Caller) -> None:
    for operation in OURS:
        answer = nobody.send(operation.method, address(operation, ids), {})
        assert (answer.status, answer.codes) == (401, {"non_field_errors": ["not_authenticated"]})


def test_a_delegate_without_switches_changes_nothing(
    estate: Estate, ids: dict[str, int], delegate: Caller
) -> None:
    for operation in OURS:
        answer = delegate.send(operation.method, address(operation, ids), {})
        if operation.method == "GET":
            assert answer.status == 200, operation
        else:
            assert answer.status == 403, operation
