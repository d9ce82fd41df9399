"""Postgres or its supervisor dies: what was committed is there again, and nothing is in the way.

All of it with the durable settings that production has.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from cpm.kernel import clock
from cpm.postgres import EmbeddedPostgres, binaries
from cpm.postgres.cluster import Cluster
from cpm.postgres.home import find
from tests.postgres.processes import (
    PATIENCE_SECONDS,
    await_another_server,
    await_end,
    is_running,
    kill_server,
    query,
    server_pid,
)


def test_a_killed_postgres_comes_back_with_every_committed_row(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        query(server.uri, "CREATE TABLE rows AS SELECT generate_series(1, 99000)")
        for number in range(11):
            query(server.uri, f"INSERT INTO rows VALUES (-{number})")
        killed = kill_server(directory)
        await_another_server(directory, than=killed)
        assert query(server.uri, "SELECT count(*) FROM rows") == [(99011,)]


def test_a_postgres_that_keeps_being_killed_keeps_coming_back(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        for _ in range(2):
            await_another_server(directory, than=kill_server(directory))
            assert query(server.uri, "SELECT 1") == [(1,)]


def test_a_query_that_outlives_its_killed_server_does_not_keep_the_next_away(
    directory: Path,
) -> None:
    with EmbeddedPostgres(directory) as server, _busy_backend(server.uri) as backend:
        killed = kill_server(directory)
        assert is_running(backend)
        await_another_server(directory, than=killed)
        assert not is_running(backend)


def test_postgres_stops_cleanly_when_its_supervisor_is_killed(directory: Path) -> None:
    server = EmbeddedPostgres(directory)
    server.start()
    query(server.uri, "CREATE TABLE answers AS SELECT 42 AS answer")
    postgres = server_pid(directory)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await_end(postgres)
    assert _control_data(directory)["Database cluster state"] == "shut down"
    server.stop()


def test_a_new_supervisor_takes_over_at_once_from_a_killed_one(directory: Path) -> None:
    first = EmbeddedPostgres(directory)
    first.start()
    query(first.uri, "CREATE TABLE taken_over AS SELECT 42 AS answer")
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    with EmbeddedPostgres(directory) as second:
        assert query(second.uri, "SELECT answer FROM taken_over") == [(42,)]
    first.stop()


def test_a_server_left_running_without_supervisor_is_replaced(directory: Path) -> None:
    with EmbeddedPostgres(directory):
        pass
    orphan = _start_by_hand(directory)
    with EmbeddedPostgres(directory) as server:
        assert not is_running(orphan)
        assert query(server.uri, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("leftover", ["data/postmaster.pid", "run/.s.PGSQL.5432.lock"])
def test_a_stale_pid_that_another_program_has_now_is_no_obstacle(
    directory: Path, leftover: str
) -> None:
    with EmbeddedPostgres(directory) as server:
        saved = (directory / leftover).read_text().splitlines()
    with _somebody_else(directory) as stranger:
        (directory / "run").mkdir(exist_ok=True)
        saved[0] = str(stranger)
        (directory / leftover).write_text("\n".join(saved) + "\n")
        with server:
            assert query(server.uri, "SELECT 1") == [(1,)]
        assert is_running(stranger)


def test_a_crash_while_the_database_was_being_made_leaves_no_half_of_one(base: Path) -> None:
    half = base / "db" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(base / "db", durable=False) as server:
        assert query(server.uri, "SELECT 1") == [(1,)]
    assert not half.exists()


@contextmanager
def _busy_backend(uri: str) -> Iterator[int]:
    """A query that burns CPU and so never notices that its server died; yields its pid."""
    endless = b"SELECT count(*) FROM (SELECT generate_series(1, 1e18::bigint)) AS numbers"
    with closing(psycopg.connect(uri)) as connection:
        pid = connection.info.backend_pid
        connection.pgconn.send_query(endless)
        is_active = f"SELECT state = 'active' FROM pg_stat_activity WHERE pid = {pid}"
        assert clock.wait_until(
            lambda: query(uri, is_active) == [(True,)], timeout_seconds=PATIENCE_SECONDS
        )
        yield pid


@contextmanager
def _somebody_else(directory: Path) -> Iterator[int]:
    """A process of the user that runs postgres, and that is not postgres; yields its pid."""
    user = Cluster(directory).user
    with subprocess.Popen(["sleep", "1000"], user=None if user.is_us else user.uid) as process:
        yield process.pid
        process.kill()


def _start_by_hand(directory: Path) -> int:
    """Postgres without a supervisor, and not our child; returns its pid."""
    cluster = Cluster(directory)
    cluster.configure()
    user = cluster.user
    options = ["--silent", "--log=/dev/null", f"--pgdata={cluster.home.data}"]
    configuration = f"--options=-c config_file={cluster.home.configuration}"
    subprocess.run(
        [str(cluster.bin / "pg_ctl"), "start", *options, configuration],
        check=True,
        cwd="/",
        user=None if user.is_us else user.uid,
        group=None if user.is_us else user.gid,
    )
    return server_pid(directory)


def _control_data(directory: Path) -> dict[str, str]:
    data = find(directory).data
    output = subprocess.check_output([binaries.for_ourselves() / "pg_controldata", data], text=True)
    pairs = (line.partition(":") for line in output.splitlines())
    return {name: value.strip() for name, _, value in pairs}
