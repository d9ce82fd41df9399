"""Lists: pages, filters, search and order."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.api.cast import Answer, Caller


def make(caller: Caller, *names: str, **values: object) -> list[dict[str, Any]]:
    body = {"every_unit": "D", "every_how_many": 1, **values}
    made = [caller.post("/schedules/", {**body, "name": name}) for name in names]
    assert [answer.status for answer in made] == [201] * len(names)
    return [answer.json for answer in made]


def names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.json
    rows = answer.json
    return [row["name"] for row in (rows["results"] if isinstance(rows, dict) else rows)]


@pytest.fixture
def seven(root: Caller) -> list[dict[str, Any]]:
    return make(root, *"abcdefg")


def test_a_list_is_a_bare_array_in_the_order_of_ids(
    root: Caller, seven: list[dict[str, Any]]
) -> None:
    assert root.get("/schedules/").json == seven


def test_a_page_has_its_count_and_its_neighbours(root: Caller, seven: list[Any]) -> None:
    page = root.get("/schedules/?page=2&page_size=3&ordering=name").json
    assert list(page) == ["count", "next", "previous", "results"]
    assert page["count"] == 7
    assert page["results"] == seven[3:6]
    assert page["next"] == "https://testserver/api/schedules/?page=3&page_size=3&ordering=name"
    assert page["previous"] == "https://testserver/api/schedules/?page=1&page_size=3&ordering=name"
    last = root.get("/schedules/?page=3&page_size=3").json
    assert (last["next"], last["results"]) == (None, seven[6:])
    assert root.get("/schedules/?page_size=3").json["previous"] is None


def test_pages_can_be_walked_from_next_to_next(root: Caller, seven: list[Any]) -> None:
    address, found = "/api//aws/schedules?page_size=2&search=", []
    while address:
        page = root.get(address).json
        found += page["results"]
        following = urlsplit(page["next"] or "")
        if page["next"]:
            assert following.path == "/api/schedules/"
            assert set(parse_qs(following.query, keep_blank_values=True)) == {
                "page_size",
                "search",
                "page",
            }
        address = page["next"] and f"{following.path}?{following.query}"
    assert found == seven


@pytest.mark.parametrize(
    "query", ["page_size=0", "page_size=0&page=2", "page_size=x", "page_size=-1", ""]
)
def test_paging_is_off_unless_it_is_asked_for(root: Caller, seven: list[Any], query: str) -> None:
    assert root.get(f"/schedules/?{query}").json == seven


@pytest.mark.parametrize("query", ["page=1", "page=1&page_size=", "page=1&page_size=abc"])
def test_a_page_without_a_size_has_twenty(root: Caller, query: str) -> None:
    made = make(root, *(f"s{number}" for number in range(21)))
    page = root.get(f"/schedules/?{query}").json
    assert (page["count"], page["results"]) == (21, made[:20])


def test_a_full_last_page_has_no_next(root: Caller, seven: list[Any]) -> None:
    page = root.get("/schedules/?page_size=7").json
    assert (page["count"], page["next"], page["previous"]) == (7, None, None)


def test_counts_follow_every_change(root: Caller, seven: list[Any]) -> None:
    assert root.get("/schedules/?page_size=2").json["count"] == 7
    make(root, "h")
    assert root.get("/schedules/?page_size=2").json["count"] == 8
    root.delete(f"/schedules/{seven[0]['id']}/")
    assert root.get("/schedules/?page_size=2").json["count"] == 7


@pytest.mark.parametrize("page", ["0", "abc", "-1", "5", "1.0", "99999999999999999999999", "٣"])
def test_a_page_that_is_not_there_is_not_found(root: Caller, seven: list[Any], page: str) -> None:
    answer = root.get(f"/schedules/?page={page}&page_size=2")
    assert answer.status == 404
    assert answer.codes == {"non_field_errors": ["not_found"]}


def test_an_empty_list_has_a_first_page(root: Caller) -> None:
    page = root.get("/schedules/?page=1").json
    assert page == {"count": 0, "next": None, "previous": None, "results": []}
    assert root.get("/schedules/?page=2").status == 404


def test_a_page_is_at_most_a_thousand_long(root: Caller) -> None:
    page = root.get("/regions/?page_size=4711").json
    assert page["count"] == len(page["results"])
    assert root.get("/schedules/?page_size=99999999999999999999").json["results"] == []


def test_filters_are_exact(root: Caller, managed: Caller) -> None:
    make(root, "nightly", "nightly2")
    make(root, "weekly", every_unit="W", user=managed.id)
    assert names(root.get("/schedules/?name=nightly")) == ["nightly"]
    assert names(root.get("/schedules/?name=Nightly")) == []
    assert names(root.get(f"/schedules/?user={managed.id}")) == ["weekly"]
    assert names(root.get(f"/schedules/?user={managed.id}&every_unit=D")) == []
    assert names(root.get("/schedules/?every_unit=w")) == ["weekly"]
    assert names(root.get("/schedules/?every_unit=&name=")) == ["nightly", "nightly2", "weekly"]
    assert names(root.get("/schedules/?colour=red")) == ["nightly", "nightly2", "weekly"]


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("user=x", {"user": ["invalid"]}),
        ("user=1.5", {"user": ["invalid"]}),
        ("every_unit=X", {"every_unit": ["invalid_choice"]}),
        ("every_unit=X&user=x", {"every_unit": ["invalid_choice"], "user": ["invalid"]}),
    ],
)
def test_a_filter_by_what_cannot_be_is_refused(
    root: Caller, query: str, codes: dict[str, list[str]]
) -> None:
    answer = root.get(f"/schedules/?{query}")
    assert (answer.status, answer.codes) == (400, codes)


@pytest.mark.parametrize(
    "query",
    ["user=4711", "user=-1", f"user={'9' * 30}", "name=%00", "name=%ff", "search=%00", "name=<b>"],
)
def test_a_filter_that_nothing_meets_gives_nothing(
    root: Caller, seven: list[Any], query: str
) -> None:
    assert root.get(f"/schedules/?{query}").json == []
    assert root.get(f"/schedules/?{query}&page=1").json["results"] == []


def test_what_is_asked_at_length_is_answered_like_everything_else(root: Caller) -> None:
    make(root, "here")
    for _ in range(2):
        assert names(root.get(f"/schedules/?search={'%20here' * 200}&page=1")) == ["here"]
        assert names(root.get(f"/schedules/?search={'x' * 2000}")) == []


def test_search_wants_every_word_somewhere(root: Caller) -> None:
    make(root, "alpha", description="The First 100% one")
    make(root, "beta", description="the second_one")
    assert names(root.get("/schedules/?search=THE")) == ["alpha", "beta"]
    assert names(root.get("/schedules/?search=the%20ALPH")) == ["alpha"]
    assert names(root.get("/schedules/?search=alpha%20beta")) == []
    assert names(root.get("/schedules/?search=0%25")) == ["alpha"]
    assert names(root.get("/schedules/?search=d_o")) == ["beta"]
    assert names(root.get("/schedules/?search=%20%20")) == ["alpha", "beta"]


def test_texts_are_ordered_by_code_point(root: Caller) -> None:
    make(root, "a", "B", "-b", "_a", "b", "A")
    assert names(root.get("/schedules/?ordering=name")) == ["-b", "A", "B", "_a", "a", "b"]
    assert names(root.get("/schedules/?ordering=-name")) == ["b", "a", "_a", "B", "A", "-b"]


def test_order_has_several_keys_and_ignores_unknown_ones(root: Caller) -> None:
    make(root, "w2", every_unit="W", every_how_many=2)
    make(root, "m1", every_unit="O")
    make(root, "d9", every_unit="D", every_how_many=9)
    make(root, "d9b", every_unit="D", every_how_many=9)
    make(root, "min", every_unit="M")
    make(root, "w3", every_unit="W", every_how_many=3)
    make(root, "h", every_unit="H")
    by_length = ["min", "h", "d9", "d9b", "w2", "w3", "m1"]
    assert names(root.get("/schedules/?ordering=every_unit,every_how_many")) == by_length
    assert names(root.get("/schedules/?ordering=id,%20every_unit%20,,password")) == by_length
    assert names(root.get("/schedules/?ordering=-every_unit,-every_how_many")) == [
        *("m1", "w3", "w2", "d9", "d9b", "h", "min"),
    ]
    assert names(root.get("/schedules/?ordering=-id")) == names(root.get("/schedules/"))


def test_times_are_ordered_as_times(root: Caller) -> None:
    body = {"every_unit": "D", "every_how_many": 1}
    root.post("/schedules/", {**body, "name": "late", "start_date": "2031-01-01"})
    root.post("/schedules/", {**body, "name": "early", "start_date": "2030-01-01"})
    assert names(root.get("/schedules/?ordering=start_date")) == ["early", "late"]
    assert names(root.get("/schedules/?ordering=-start_date")) == ["late", "early"]


def test_a_list_costs_one_query_and_a_page_at_most_two(
    root: Caller, seven: list[Any], django_assert_num_queries: Any
) -> None:
    root.get("/schedules/")
    for path in ("/schedules/", "/schedules/?page_size=10", f"/schedules/{seven[0]['id']}/"):
        with django_assert_num_queries(1):
            assert root.get(path).status == 200
    with django_assert_num_queries(2):
        assert (
            root.get("/schedules/?page_size=2&search=%20&ordering=name&every_unit=D").status == 200
        )
