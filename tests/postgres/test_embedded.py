"""A server for the length of a block, as `cpm serve` and the test suite use it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cpm.postgres import AlreadyRunning, EmbeddedPostgres, NotRunning, StartFailed, connect_uri
from cpm.postgres.home import find
from tests.postgres.processes import (
    await_end,
    await_lock,
    children_of,
    is_running,
    query,
    server_pid,
    supervisor_of,
)
from tests.postgres.slow_postgres import SlowPostgres

_PARENT = """
import sys
from pathlib import Path
from cpm.postgres import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""

_VARIABLES_OF_ANOTHER_SERVER = {
    "PGDATA": "/nowhere",
    "PGHOST": "/nowhere",
    "PGOPTIONS": "-c search_path=nowhere -c no_such_setting=1",
    "PGPORT": "1",
    "PGUSER": "nobody",
}


def test_a_new_directory_gets_a_database_that_survives_the_next_start(base: Path) -> None:
    with EmbeddedPostgres(base / "db") as server:
        query(server.uri, "CREATE TABLE kept AS SELECT 42 AS answer")
    with EmbeddedPostgres(base / "db") as server:
        assert query(server.uri, "SELECT answer FROM kept") == [(42,)]


def test_a_second_server_is_refused_and_told_who_has_the_directory(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as first:
        with pytest.raises(AlreadyRunning) as refusal:
            EmbeddedPostgres(directory).start()
        assert refusal.value.pid == first.pid
        assert str(directory) in str(refusal.value)
        assert str(first.pid) in str(refusal.value)
        assert query(first.uri, "SELECT 1") == [(1,)]


def test_other_commands_find_the_server_only_while_it_runs(directory: Path) -> None:
    with pytest.raises(NotRunning, match="cpm serve"):
        connect_uri(directory)
    with EmbeddedPostgres(directory, durable=False) as server:
        assert connect_uri(directory) == server.uri
    with pytest.raises(NotRunning, match="cpm serve"):
        connect_uri(directory)


def test_other_commands_wait_for_a_server_that_is_coming_up(
    directory: Path, slow_postgres: SlowPostgres
) -> None:
    slow_postgres.delay(seconds=1)
    with supervisor_of(directory):
        await_lock(directory)
        assert query(connect_uri(directory), "SELECT 1") == [(1,)]


def test_stopping_leaves_no_process_and_no_socket(directory: Path) -> None:
    server = EmbeddedPostgres(directory, durable=False)
    server.start()
    supervisor = server.pid
    assert supervisor is not None
    postgres = server_pid(directory)
    everybody = [supervisor, postgres, *children_of(postgres)]
    server.stop()
    assert not any(map(is_running, everybody))
    assert not server.is_alive()
    assert not list(directory.rglob(".s.PGSQL*"))
    assert not find(directory).state.exists()


def test_nothing_outlives_a_parent_that_is_killed(directory: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        supervisor = int(parent.stdout.readline())
        postgres = server_pid(directory)
        parent.kill()
    await_end(supervisor, postgres)
    assert not list(directory.rglob(".s.PGSQL*"))


def test_a_stopped_server_can_be_started_again(directory: Path) -> None:
    server = EmbeddedPostgres(directory, durable=False)
    for _ in range(2):
        with server:
            assert query(server.uri, "SELECT 1") == [(1,)]


def test_an_owner_can_bring_back_a_killed_supervisor(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await_end(server.pid)
        assert not server.is_alive()
        server.start()
        assert query(server.uri, "SELECT 1") == [(1,)]


def test_variables_for_other_servers_do_not_lead_astray(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _VARIABLES_OF_ANOTHER_SERVER.items():
        monkeypatch.setenv(name, value)
    with EmbeddedPostgres(directory, durable=False) as server:
        for name in _VARIABLES_OF_ANOTHER_SERVER:
            monkeypatch.delenv(name)
        assert query(server.uri, "SELECT current_user::text") == [("cpm",)]


def test_a_start_may_take_as_long_as_it_shows_progress(
    directory: Path, slow_postgres: SlowPostgres
) -> None:
    slow_postgres.delay(seconds=3)
    with EmbeddedPostgres(directory, durable=False, stall_seconds=1.5) as server:
        assert query(server.uri, "SELECT 1") == [(1,)]


def test_a_start_that_shows_no_progress_is_given_up(
    directory: Path, slow_postgres: SlowPostgres
) -> None:
    slow_postgres.hang()
    with pytest.raises(StartFailed, match="no progress") as failure:
        EmbeddedPostgres(directory, durable=False, stall_seconds=1).start()
    assert str(find(directory).log) in str(failure.value)
