"""Paths, methods and the order in which a request is checked."""

import pytest

from cpm.api.guide import OPERATIONS as GUIDE
from cpm.api.routes import OPERATIONS
from tests.api.cast import Caller

SCHEDULE = {"name": "nightly", "every_unit": "D", "every_how_many": 1}


@pytest.mark.parametrize(
    "path",
    [
        "/api/schedules/",
        "/api/schedules",
        "//api//schedules//",
        "/api///schedules",
        "/api/aws/schedules/",
        "//api/aws//schedules",
    ],
)
def test_slashes_and_the_aws_prefix_do_not_matter(root: Caller, path: str) -> None:
    created = root.post(path, SCHEDULE)
    assert created.status == 201
    assert root.get(f"{path}?name=nightly").json == [created.json]
    slash = "" if path.endswith("/") else "/"
    assert root.put(f"{path}{slash}{created.json['id']}", {"every_unit": "W"}).status == 200
    assert root.delete(f"{path}{slash}{created.json['id']}//").status == 204


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nothing/",
        "/api/schedules/x/",
        "/api/schedules/-1/",
        "/api/schedules/1/2/",
    ],
)
def test_a_path_that_is_not_there_is_404_for_everybody(
    root: Caller, nobody: Caller, path: str
) -> None:
    for caller in (root, nobody):
        answer = caller.get(path, accept="text/nonsense")
        assert answer.status == 404
        assert answer.codes == {"non_field_errors": ["not_found"]}


@pytest.mark.parametrize("object_id", ["7", "0", "9223372036854775807", "9" * 30, "9" * 5000])
def test_an_id_of_nothing_is_not_found(root: Caller, nobody: Caller, object_id: str) -> None:
    assert nobody.get(f"/schedules/{object_id}/").status == 401
    for answer in (
        root.get(f"/schedules/{object_id}/"),
        root.put(f"/schedules/{object_id}/", b"not even JSON"),
        root.delete(f"/schedules/{object_id}/"),
    ):
        assert answer.status == 404


def test_patch_is_allowed_nowhere(root: Caller) -> None:
    for path in {operation.path.format_map(_Ones()) for operation in OPERATIONS}:
        answer = root.send("PATCH", path, {})
        assert answer.status == 405, path
        assert answer.codes == {"non_field_errors": ["method_not_allowed"]}
        assert "PATCH" not in answer.headers["Allow"]


def test_options_tells_what_is_allowed(root: Caller, nobody: Caller) -> None:
    assert root.send("OPTIONS", "/schedules/").headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert root.send("OPTIONS", "/schedules/1/").headers["Allow"] == (
        "GET, PUT, DELETE, HEAD, OPTIONS"
    )
    assert nobody.send("OPTIONS", "/token/refresh/").headers["Allow"] == "POST, OPTIONS"
    assert nobody.send("OPTIONS", "/schedules/").status == 401


def test_head_answers_what_get_does_without_the_body(root: Caller) -> None:
    got = root.get("/regions/")
    head = root.send("HEAD", "/regions/")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(got.body)
    assert root.send("HEAD", "/schedules/99/").status == 404


def test_the_token_is_checked_before_the_method(root: Caller, nobody: Caller) -> None:
    assert nobody.send("PATCH", "/schedules/").status == 401
    assert root.send("PATCH", "/schedules/").status == 405


def test_the_kind_of_user_is_checked_before_the_object(root: Caller, delegate: Caller) -> None:
    assert delegate.put("/schedules/99/", b"\xff").status == 403
    assert root.put("/schedules/99/", b"\xff").status == 404
    created = root.post("/schedules/", SCHEDULE).json
    path = f"/schedules/{created['id']}/"
    assert root.put(path, b"\xff").codes == {"non_field_errors": ["parse_error"]}
    assert root.send("PUT", path, b"x", content_type="text/plain").status == 415


def test_every_answer_has_a_request_id(root: Caller, nobody: Caller) -> None:
    sent = root.get("/regions/", x_request_id="My-Request_1.2")
    assert sent.headers["X-Request-ID"] == "My-Request_1.2"
    answers = [
        root.get("/regions/", x_request_id="not one\x7f"),
        root.get("/regions/", x_request_id="x" * 129),
        nobody.get("/regions/"),
        nobody.get("/nowhere/"),
        root.get("/regions/", accept="text/html"),
    ]
    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert all(len(one) == 32 for one in ids)


def test_the_guide_has_177_operations() -> None:
    assert len(GUIDE) == 177


def test_operations_of_the_guide_are_routed_under_its_paths() -> None:
    """Ids may be called otherwise; nothing else may differ."""
    ours = {(one.method, _shape(one.path)) for one in OPERATIONS}
    assert len(ours) == len(OPERATIONS)
    guide = {(method, _shape(path)) for method, path in GUIDE}
    assert ours & guide


class _Ones(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "1"


def _shape(path: str) -> tuple[str, ...]:
    return tuple("{}" if part.startswith("{") else part for part in path.split("/"))
