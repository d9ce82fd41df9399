"""What a real server does with connections, bodies and long lists."""

import http.client
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
import pytest

from cpm.kernel import clock
from tests.api.server import Connection, WebServer

JSON = {"Content-Type": "application/json"}
SCHEDULE = {"name": "nightly", "every_unit": "D", "every_how_many": 1}
MANY = 60_000
AT_ONCE = 8

T = TypeVar("T")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A server whose root user has very many schedules, and as many lines in his trail."""
    with WebServer(tmp_path_factory.mktemp("web"), CPM_TRUSTED_PROXIES="127.0.0.1") as running:
        with psycopg.connect(running.database.uri) as database:
            database.execute(
                "INSERT INTO cpm_schedule (user_id, name, every_unit, every_how_many, start_at,"
                " modified_at, disable_times, allow_on_sunday, allow_on_monday, allow_on_tuesday,"
                " allow_on_wednesday, allow_on_thursday, allow_on_friday, allow_on_saturday)"
                " SELECT u.id, 's' || n, 'D', 1, now(), now(), '[]', true, true, true, true, true,"
                " true, true FROM cpm_user u, generate_series(1, %s) n",
                [MANY],
            )
            database.execute(
                "INSERT INTO cpm_auditentry (at, user_id, user_name, delegate_name, event_type,"
                " object, description, source_address)"
                " SELECT now(), u.id, 'root', '', 'create schedule', 's' || n, 'planted', ''"
                " FROM cpm_user u, generate_series(1, %s) n",
                [MANY],
            )
        yield running


@pytest.fixture
def api(server: WebServer) -> Iterator[Connection]:
    opened = Connection(server)
    yield opened
    opened.raw.close()


def test_a_connection_is_kept_through_good_and_bad_answers(api: Connection) -> None:
    sockets = set()
    for method, path, status in (
        ("GET", "/regions/", 200),
        ("GET", "/schedules/0/", 404),
        ("PATCH", "/schedules/", 405),
        ("HEAD", "/regions/", 200),
        ("HEAD", "/schedules/0/", 404),
        ("OPTIONS", "/schedules/", 200),
        ("GET", "//schedules//?name=s1", 200),
        ("GET", "/schedules?name=s1", 200),
    ):
        answer, _body = api.send(method, path)
        assert answer.status == status, path
        assert answer.headers["X-Request-ID"]
        sockets.add(id(api.raw.sock))
    assert len(sockets) == 1


def test_head_tells_the_length_of_what_get_sends(api: Connection) -> None:
    got = api.open("GET", "/regions/")
    length = str(len(got.read()))
    assert got.headers["Content-Length"] == length
    head = api.open("HEAD", "/regions/")
    assert (head.read(), head.headers["Content-Length"]) == (b"", length)
    assert api.open("HEAD", "/schedules/").read() == b""
    assert api.send("GET", "/regions/")[0].status == 200


@pytest.mark.parametrize("length", [True, False])
def test_a_body_of_ten_megabytes_is_refused_as_too_large(api: Connection, *, length: bool) -> None:
    whole = b"x" * 10_000_000
    body: Any = whole if length else iter([whole[:5_000_000], whole[5_000_000:]])
    answer, told = api.send("POST", "/schedules/", body, JSON)
    assert answer.status == 413
    assert told["errors"][0]["non_field_errors"][0]["code"] == "too_large"


def test_a_body_may_come_in_pieces_without_its_length(api: Connection) -> None:
    body = json.dumps({**SCHEDULE, "name": "in_pieces"}).encode()
    answer, made = api.send("POST", "/schedules/", iter([body[:10], body[10:]]), JSON)
    assert answer.status == 201
    assert api.send("DELETE", f"/schedules/{made['id']}/")[0].status == 204


@pytest.mark.parametrize(
    "path", ["/%00/", "/%ff/", "/schedules/%00/", "/schedules/1%0a/", "/" + "x" * 5000, "/%2e%2e/"]
)
def test_strange_paths_are_not_found(api: Connection, path: str) -> None:
    answer, told = api.send("GET", path)
    assert answer.status == 404
    assert told["errors"][0]["non_field_errors"][0]["code"] == "not_found"


def test_the_request_id_is_in_the_log(api: Connection, server: WebServer) -> None:
    api.send("GET", "/schedules/0/", headers={"X-Request-ID": "find-me-42"})
    lines = [line for line in server.output.splitlines() if "find-me-42" in line]
    assert any("/api/schedules/0/" in line for line in lines)
    assert not any("Bearer" in line for line in server.output.splitlines())


def test_a_long_list_is_streamed_whole(api: Connection) -> None:
    answer = api.open("GET", "/schedules/?ordering=-name")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "ETag" not in answer.headers
    rows = json.loads(answer.read())
    assert len(rows) == MANY
    names = [row["name"] for row in rows]
    assert names == sorted(names, reverse=True)


def test_pages_of_a_long_list_agree_with_it(api: Connection) -> None:
    _answer, page = api.send("GET", f"/schedules/?page_size=1000&page={MANY // 1000}")
    assert page["count"] == MANY
    assert (page["next"], len(page["results"])) == (None, 1000)


def test_readers_who_go_away_leave_nothing_behind(api: Connection, server: WebServer) -> None:
    for _ in range(20):
        gone = Connection(server)
        answer = gone.open("GET", "/schedules/")
        answer.read(10)
        answer.close()
        gone.raw.close()
    whole = _when_there_is_room(api)
    assert len(json.loads(whole.read())) == MANY


def test_a_long_list_takes_no_memory(api: Connection, server: WebServer) -> None:
    _when_there_is_room(api).read()
    before = server.memory_kib()
    for _ in range(4):
        _when_there_is_room(api).read()
    assert server.memory_kib() - before < 20_000


def test_a_long_report_is_streamed_and_as_a_file_takes_no_memory(
    api: Connection, server: WebServer
) -> None:
    streamed = api.open("GET", "/reports/audit/")
    assert streamed.headers["Transfer-Encoding"] == "chunked"
    assert streamed.read().count(b'"planted"') == MANY

    def download() -> None:
        file = api.open("GET", "/reports/audit/", headers={"Accept": "text/csv"})
        content = file.read()
        assert int(file.headers["Content-Length"]) == len(content)
        assert content.count(b",planted,") == MANY

    download()
    before = server.memory_kib()
    for _ in range(2):
        download()
    assert server.memory_kib() - before < 20_000


def test_of_those_who_change_the_same_object_at_once_one_succeeds(
    api: Connection, server: WebServer
) -> None:
    _answer, made = api.send("POST", "/schedules/", json.dumps(SCHEDULE).encode(), JSON)
    path = f"/schedules/{made['id']}/"
    tag = api.send("GET", path)[0].headers["ETag"]

    def change(connection: Connection, number: int) -> int:
        body = json.dumps({"description": f"by {number}"}).encode()
        answer, _told = connection.send("PUT", path, body, {**JSON, "If-Match": tag})
        return answer.status

    assert sorted(at_once(server, change)) == [200, *[412] * (AT_ONCE - 1)]
    assert api.send("DELETE", path)[0].status == 204


def test_of_those_who_take_the_same_name_at_once_one_succeeds(server: WebServer) -> None:
    def create(connection: Connection, _number: int) -> int:
        body = json.dumps({**SCHEDULE, "name": "wanted"}).encode()
        answer, told = connection.send("POST", "/schedules/", body, JSON)
        assert answer.status == 201 or told["errors"][0]["name"][0]["code"] == "unique"
        return answer.status

    assert sorted(at_once(server, create)) == [201, *[400] * (AT_ONCE - 1)]


def test_bad_attempts_are_counted_over_all_processes(server: WebServer) -> None:
    def attempt(connection: Connection, _number: int) -> list[int]:
        path, body = "/token/obtain/api_key/", b"api_key=wrong"
        return [connection.send("POST", path, body)[0].status for _ in range(3)]

    statuses = [status for some in at_once(server, attempt) for status in some]
    assert statuses.count(401) == 10
    assert statuses.count(429) == 3 * AT_ONCE - 10


def test_a_proxy_that_is_trusted_says_where_its_clients_are(
    api: Connection, server: WebServer
) -> None:
    path, body = "/token/obtain/api_key/", b"api_key=wrong"

    def attempt(*forwarded: str) -> int:
        api.raw.putrequest("POST", f"/api{path}")
        for line in forwarded:
            api.raw.putheader("X-Forwarded-For", line)
        api.raw.putheader("Content-Length", str(len(body)))
        api.raw.endheaders(body)
        answer = api.raw.getresponse()
        answer.read()
        return answer.status

    made_up = (f"203.0.113.{number}" for number in range(100))
    lines = [(next(made_up), f"{next(made_up)}, 198.51.100.7") for _ in range(11)]
    assert [attempt(*each) for each in lines] == [*[401] * 10, 429]
    assert attempt("198.51.100.8") == 401
    with psycopg.connect(server.database.uri) as database:
        rows = database.execute(
            "SELECT DISTINCT source_address FROM cpm_auditentry"
            " WHERE source_address LIKE '198.51.%' OR source_address LIKE '203.%'"
        )
        assert sorted(rows) == [("198.51.100.7",), ("198.51.100.8",)]


def test_all_processes_count_together(api: Connection, server: WebServer) -> None:
    # Nothing else here asks for these: what a process has not told yet would come in between.
    at_once(server, lambda other, _: other.send("GET", "/alerts/"))
    assert clock.wait_until(
        lambda: requests_to(api, "get_alerts", 200) == AT_ONCE, timeout_seconds=60
    )


def requests_to(api: Connection, operation: str, status: int) -> float:
    """How many there were, by the server's own count."""
    text = api.open("GET", "/metrics", base="").read().decode()
    series = rf'cpm_http_requests_total{{operation="{operation}",status="{status}"}} (.+)'
    return sum(map(float, re.findall(series, text)))


def test_while_the_database_is_away_the_server_says_so(api: Connection, server: WebServer) -> None:
    server.database.stop()
    answer, told = api.send("GET", "/schedules/1/")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert told["errors"][0]["non_field_errors"][0]["code"] == "unavailable"
    assert _health(api, "/readyz") == 503
    assert _health(api, "/healthz") == 200
    page = api.open("GET", "/login/", base="")
    assert (page.status, b"Try again in a moment" in page.read()) == (503, True)
    server.database.start()
    assert api.send("GET", "/schedules/1/")[0].status == 200


def at_once(server: WebServer, do: Callable[[Connection, int], T]) -> list[T]:
    """What comes of it when several callers do the same at the same time."""
    connections = [Connection(server) for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = list(threads.map(do, connections, range(AT_ONCE)))
    for connection in connections:
        connection.raw.close()
    return found


def _health(api: Connection, path: str) -> int:
    answer = api.open("GET", path, base="")
    assert answer.read()
    return answer.status


def _when_there_is_room(api: Connection) -> http.client.HTTPResponse:
    """A long list, as soon as the server has noticed who is gone; until then it answers 503."""
    answers: list[http.client.HTTPResponse] = []

    def is_answered() -> bool:
        answers.append(api.open("GET", "/schedules/"))
        if answers[-1].status == 503:
            assert int(answers[-1].headers["Retry-After"]) > 0
            answers[-1].read()
        return answers[-1].status == 200

    assert clock.wait_until(is_answered, timeout_seconds=60)
    return answers[-1]
