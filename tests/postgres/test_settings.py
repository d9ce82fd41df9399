"""The settings that a running server has, and the limits of its log."""

from pathlib import Path

import psycopg
import pytest

from cpm.postgres import EmbeddedPostgres, settings
from cpm.postgres.log import KEEP_ROTATED, ROTATE_AT_BYTES, Log
from tests.postgres.processes import query

_GIB = 2**30


_PRODUCTION = {
    "data_checksums": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "idle_in_transaction_session_timeout": "10min",
    "listen_addresses": "",
    "max_connections": "200",
    "max_parallel_workers_per_gather": "0",
    "password_encryption": "scram-sha-256",
    "synchronous_commit": "on",
    "unix_socket_permissions": "0700",
    "wal_compression": "pglz",
}
_FAST = {**_PRODUCTION, "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def test_tests_may_be_fast_and_the_next_start_is_durable_again(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        assert _shown(server.uri) == {**_FAST, "wal_compression": "off"}
    with EmbeddedPostgres(directory) as server:
        assert _shown(server.uri) == _PRODUCTION


def test_the_operators_settings_have_the_last_word(directory: Path) -> None:
    override = directory / "override.conf"
    override.write_text("max_connections = 55\n")
    override.chmod(0o644)
    with EmbeddedPostgres(directory, durable=False) as server:
        assert query(server.uri, "SHOW max_connections") == [("55",)]
    override.unlink()


@pytest.mark.parametrize(
    ("memory_bytes", "expected_mib"),
    [(_GIB // 4, 64), (2 * _GIB, 256), (4 * _GIB, 512), (64 * _GIB, 1024)],
)
def test_shared_buffers_follow_the_memory_within_bounds(
    memory_bytes: int, expected_mib: int
) -> None:
    assert settings.shared_buffers_mib(memory_bytes) == expected_mib


def test_the_log_never_takes_more_than_its_share_of_the_disk(tmp_path: Path) -> None:
    log = Log(tmp_path / "postgres.log")
    for number in range(KEEP_ROTATED + 3):
        log.write(f"number {number}")
        with log.path.open("ab") as file:
            file.truncate(ROTATE_AT_BYTES)
        log.rotate()
    log.write("the newest")
    assert "the newest" in log.path.read_text()
    assert f"number {KEEP_ROTATED + 2}" in (tmp_path / "postgres.log.1").read_text()
    assert len(list(tmp_path.iterdir())) == KEEP_ROTATED + 1


def test_values_of_failing_statements_stay_out_of_the_log(server: EmbeddedPostgres) -> None:
    query(server.uri, "CREATE TABLE holder (secret text UNIQUE)")
    query(server.uri, "INSERT INTO holder VALUES ('hush-hush')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        query(server.uri, "INSERT INTO holder VALUES ('hush-hush')")
    text = (server.directory / "log" / "postgres.log").read_text()
    assert "duplicate key value" in text
    assert "hush-hush" not in text
    assert (server.directory / "password").read_text() not in text


def _shown(uri: str) -> dict[str, str]:
    return {name: query(uri, f"SHOW {name}")[0][0] for name in _PRODUCTION}
