"""Whatever is sent, the answer is one of the API's, and never an error of the server.

Operations come from the router, and their fields from what they declare: what is new is covered as
soon as it is there. Each is asked by root, who may do everything; what it does is taken back.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from cpm.api.operations import Operation
from cpm.api.routes import OPERATIONS
from cpm.kernel import clock
from cpm.kernel.invalid import Invalid
from cpm.models.accounts import Account
from cpm.models.policies import Policy
from cpm.models.schedules import Schedule
from cpm.models.users import UserKind
from cpm.services import groups
from cpm.services.fields import Field, Kind
from tests.api.cast import Answer, Caller, make_user
from tests.api.nouns.estate import Estate, create
from tests.api.nouns.everything import OURS, address, found_by_listing, taken_back

Ids = dict[str, int]
Body = dict[str, object]

FOREIGN = 1_000_000_007

WRITES = [each for each in OPERATIONS if each.method in ("POST", "PUT")]

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"

VALUES: list[Any] = [
    *(None, True, -1, 1.5, 2**31, 2**63, 10**40, 1e300, "", " ", "x" * 5000, "a\x00b", "\ud800"),
    *("<>\\ü", "-1", "9" * 400, "2026-13-01"),
    *([], [None], [[]], [{}], {}, {"a": None}, {"a": {"b": []}}, ["x", 1, None]),
]

BODIES = [
    *(b"{", b"[]", b"null", b"1", b'"text"', b'{"name": NaN}', b'{"name": 1e999}', b"\xff\xfe"),
    *(b'{"name": "\xff"}', b'{"name": "\\ud800"}', b'{"a": 1, "a": 2}', b"\x00", b" "),
    *(b"[" * 100_000, b'{"a":' * 65 + b"1" + b"}" * 65, json.dumps({"x" * 9999: 1}).encode()),
]
FORMS = [
    *(b"name=%FF&name=%00", b"name=1&name=x&name.a=1", b"&&&===", b"%", b"name[]=1"),
    *(b"a=1&" * 2000, b"name=" + b"[" * 5000, b".=1&..=2&name..a=3"),
]
PARTS = [
    *(b"", b"--x", b"--x--", b"--x\r\n\r\n\r\n--x--", b"no boundary"),
    b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n\xff\x00\r\n--x--',
    b'--x\r\nContent-Disposition: form-data; name="name"; filename="f"\r\n\r\n1\r\n--x--',
]


@pytest.fixture
def everything(root: Caller, delegate: Caller, estate: Estate, ids: Ids) -> Ids:
    """The id of an object for every id in any path."""
    create(estate.caller, "/schedules/", {"name": "s", "every_unit": "D", "every_how_many": 1})
    groups.ensure_built_ins()
    return found_by_listing(root, OPERATIONS, ids)


def address_of(operation: Operation, ids: Ids) -> str:
    return f"{address(operation, ids)}?validate=false"


def check(answer: Answer, *what: object) -> None:
    assert answer.status < 500, (what, answer.body)
    if answer.status >= 400:
        assert answer.codes, what


def test_no_value_of_any_field_is_too_strange(root: Caller, everything: Ids) -> None:
    for operation in WRITES:
        path = address_of(operation, everything)
        for sent in strange_bodies(operation):
            with taken_back():
                check(root.send(operation.method, path, sent), operation, sent)


def strange_bodies(operation: Operation) -> Iterator[Body]:
    """Each value in all fields together, and where it is not refused by itself, in one alone."""
    for value in VALUES:
        yield {field.name: value for field in operation.body or ()}
    for field in operation.body or ():
        for value in VALUES:
            if passes(field, value):
                yield {field.name: value}
        for inner in field.kind.nested or ():
            for value in VALUES:
                yield {field.name: {inner.name: value}}


def passes(field: Field, value: object) -> bool:
    try:
        field.read(value)
    except Invalid:
        return False
    return True


def test_fields_that_nobody_knows_are_ignored(root: Caller, everything: Ids) -> None:
    for operation in WRITES:
        path = address_of(operation, everything)
        with taken_back():
            plain = root.send(operation.method, path, {})
        with taken_back():
            answer = root.send(operation.method, path, {"no_such_field": {"deep": [1]}, "": None})
        assert answer.status == plain.status, operation
        if answer.status >= 400:
            assert answer.codes == plain.codes


def test_no_body_is_too_strange(root: Caller, everything: Ids) -> None:
    for operation in WRITES:
        path = address_of(operation, everything)
        for kind, bodies in ((JSON, BODIES), (FORM, FORMS), (MULTIPART, PARTS)):
            for body in bodies:
                with taken_back():
                    answer = root.send(operation.method, path, body, content_type=kind)
                check(answer, operation, kind, body[:50])


def test_no_form_is_too_strange(root: Caller, everything: Ids) -> None:
    for operation in WRITES:
        path = address_of(operation, everything)
        names = [field.name for field in operation.body or ()]
        for part in ("{}=%00", "{0}=1&{0}=x", "{}.a=1", "{0}=%FF&{0}={{", "{}="):
            text = "&".join(part.format(name) for name in names)
            with taken_back():
                answer = root.send(operation.method, path, text, content_type=FORM)
            check(answer, operation, text)


def test_ten_megabytes_are_too_much(root: Caller, everything: Ids) -> None:
    body = b'{"name": "' + b"x" * 10_000_000 + b'"}'
    for operation in WRITES:
        if operation.body:
            answer = root.send(operation.method, address_of(operation, everything), body)
            assert (answer.status, answer.codes) == (413, {"non_field_errors": ["too_large"]})


def test_nothing_of_somebody_whom_one_cannot_see_can_be_referred_to(
    root: Caller, everything: Ids
) -> None:
    make_foreign_objects()
    refused = set()
    for operation in WRITES:
        path = address_of(operation, everything)
        for field in operation.body or ():
            if refers(field.kind):
                value = [FOREIGN] if field.kind.schema["type"] == "array" else FOREIGN
                with taken_back():
                    answer = root.send(operation.method, path, {field.name: value})
                if answer.status == 400:
                    refused |= {field.name} if field.name in answer.codes else set()
                else:  # ignored
                    assert answer.json.get(field.name) != value, (operation, field.name)
    assert {"account", "user", "schedules", "original_user"} <= refused


def make_foreign_objects() -> None:
    """A user whom root does not look into, and objects of his; all have the same id."""
    now = clock.now()
    owner = make_user("ines", UserKind.INDEPENDENT, pk=FOREIGN)
    common: dict[str, Any] = {"pk": FOREIGN, "user": owner, "name": "other"}
    account = Account.objects.create(authentication="C", **common)
    Policy.objects.create(account=account, modified_at=now, **common)
    Schedule.objects.create(
        every_unit="D", every_how_many=1, start_at=now, modified_at=now, **common
    )


def refers(kind: Kind) -> bool:
    """Whether it takes ids of objects: they alone are missing when they are absurd."""
    for value in (10**30, [10**30]):
        try:
            kind.read(value)
        except Invalid as error:
            if "does_not_exist" in {problem.code for problem in error.problems}:
                return True
    return False


def test_no_query_is_too_strange(estate: Estate, ids: Ids) -> None:
    for operation in OURS:
        if operation.method != "GET":
            continue
        path = address(operation, ids)
        names = [*(operation.listing.filters if operation.listing else ()), "search", "ordering"]
        for name in [*names, "page", "page_size", "days_ahead"]:
            for value in ("", "x", "-1", "9" * 30, "%00", "%ED%A0%80", "%FF", "a,b", "2026-13-01"):
                answer = estate.caller.get(f"{path}?{name}={value}")
                assert answer.status in (200, 400, 404), (path, name, value)


def test_absurd_ids_are_not_there(root: Caller, everything: Ids) -> None:
    for operation in OPERATIONS:
        path = address(operation, everything)
        for wrong in ("0", "999999999", "9" * 40, "abc", "-1", "%00"):
            for start in [found.start() for found in re.finditer(r"/[0-9]+/", path)]:
                changed = path[: start + 1] + wrong + path[path.index("/", start + 1) :]
                answer = root.send(operation.method, changed, {})
                assert answer.status == 404, (operation, changed)
