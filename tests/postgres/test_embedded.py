"""A server for the length of a block, as `cpm serve` and the test suite use it."""

from pathlib import Path

import psycopg
import pytest

from cpm.postgres import AlreadyRunning, EmbeddedPostgres, NotRunning, connect_uri


def test_a_committed_row_is_there_at_the_next_start(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "db") as server, psycopg.connect(server.uri) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with EmbeddedPostgres(tmp_path / "db") as server, psycopg.connect(server.uri) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_second_server_on_the_directory_is_refused(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "db", durable=False) as first:
        with pytest.raises(AlreadyRunning) as refusal:
            EmbeddedPostgres(tmp_path / "db").start()
        assert refusal.value.pid == first.pid
        assert str(tmp_path / "db") in str(refusal.value)


def test_other_commands_find_the_running_server(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        connect_uri(tmp_path / "db")
    with EmbeddedPostgres(tmp_path / "db", durable=False) as server:
        assert connect_uri(tmp_path / "db") == server.uri
    with pytest.raises(NotRunning):
        connect_uri(tmp_path / "db")
