"""ETags, and requests that depend on them."""

import pytest

from tests.api.cast import Caller

SCHEDULE = {"name": "nightly", "every_unit": "D", "every_how_many": 1}


@pytest.fixture
def path(root: Caller) -> str:
    return f"/schedules/{root.post('/schedules/', SCHEDULE).json['id']}/"


@pytest.mark.parametrize("query", ["", "list"])
def test_a_reader_who_has_it_already_is_told_so(root: Caller, path: str, query: str) -> None:
    address = "/schedules/?page=1" if query else path
    first = root.get(address)
    tag = first.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = root.get(address, if_none_match=known)
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        assert again.headers["X-Request-ID"]
        assert again.headers["API-Version"] == "1.2.0"
    assert root.get(address, if_none_match='"other"').json == first.json
    root.put(path, {"description": "changed"})
    changed = root.get(address, if_none_match=tag)
    assert changed.status == 200
    assert changed.headers["ETag"] != tag


def test_unpaged_lists_have_no_etag(root: Caller, path: str) -> None:
    assert "ETag" not in root.get("/schedules/").headers


def test_an_update_of_what_has_changed_is_refused(root: Caller, path: str) -> None:
    seen = root.get(path).headers["ETag"]
    answer = root.put(path, {"description": "mine"}, if_match=seen)
    assert answer.status == 200
    assert answer.headers["ETag"] == root.get(path).headers["ETag"] != seen
    late = root.put(path, {"description": "too late"}, if_match=seen)
    assert late.status == 412
    assert late.codes == {"non_field_errors": ["precondition_failed"]}
    assert root.get(path).json["description"] == "mine"
    assert root.put(path, {"description": "any"}, if_match="*").status == 200


def test_a_deletion_of_what_has_changed_is_refused(root: Caller, path: str) -> None:
    seen = root.get(path).headers["ETag"]
    root.put(path, {"description": "changed"})
    assert root.delete(path, if_match=seen).status == 412
    assert root.get(path).status == 200
    assert root.delete(path, if_match=root.get(path).headers["ETag"]).status == 204
    assert root.delete(path, if_match=seen).status == 404


def test_what_is_wrong_with_a_body_is_told_before_the_precondition(root: Caller, path: str) -> None:
    answer = root.put(path, {"every_unit": "X"}, if_match='"other"')
    assert (answer.status, answer.codes) == (400, {"every_unit": ["invalid_choice"]})


def test_a_weak_tag_matches_no_write(root: Caller, path: str) -> None:
    seen = root.get(path).headers["ETag"]
    assert root.put(path, {"description": "x"}, if_match=f"W/{seen}").status == 412


def test_versions_that_show_the_same_have_the_same_tag(root: Caller, path: str) -> None:
    old, new = root.using("1.0").get(path), root.using("1.2").get(path)
    assert (old.body == new.body) == (old.headers["ETag"] == new.headers["ETag"])
