"""Who may get at the database: the product, over a private socket, as an ordinary role."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from cpm.postgres import AlreadyRunning, EmbeddedPostgres
from cpm.postgres.cluster import Cluster
from cpm.postgres.home import discard, find, mark_durability, state_directory
from tests.postgres.processes import query, server_pid

Furnish = Callable[[Path], Path]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user keeps it where asked")


def test_the_product_owns_its_database_and_is_no_superuser(server: EmbeddedPostgres) -> None:
    who = "SELECT current_user::text, current_database()::text, rolsuper FROM pg_roles"
    assert query(server.uri, f"{who} WHERE rolname = current_user") == [("cpm", "cpm", False)]
    query(server.uri, "CREATE DATABASE another")


def test_the_superuser_cannot_connect(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba.conf entry"):
        psycopg.connect(server.uri, user="postgres")


def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.uri, password="guessed")


def test_trigram_search_is_there(server: EmbeddedPostgres) -> None:
    assert query(server.uri, "SELECT similarity('volume', 'volumes') > 0.5") == [(True,)]


def test_sorting_does_not_depend_on_the_system(server: EmbeddedPostgres) -> None:
    locale = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'cpm'"
    assert query(server.uri, locale) == [("b", "C.UTF-8")]


def test_the_products_secrets_are_not_passed_on_to_postgres(server: EmbeddedPostgres) -> None:
    assert "CPM_SECRET_KEY" in os.environ
    assert b"CPM_" not in Path(f"/proc/{server_pid(server.directory)}/environ").read_bytes()


@as_root
def test_postgres_does_not_run_as_root(server: EmbeddedPostgres) -> None:
    assert Path(f"/proc/{server_pid(server.directory)}").stat().st_uid != 0


@as_root
def test_postgres_runs_from_a_copy_that_outlives_an_upgrade(server: EmbeddedPostgres) -> None:
    program = Path(f"/proc/{server_pid(server.directory)}/exe").readlink()
    assert program.is_relative_to(state_directory() / "binaries")


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nothing_of_it_is_open_to_the_world(base: Path, furnish: Furnish, umask: int) -> None:
    previous = os.umask(umask)
    try:
        with EmbeddedPostgres(furnish(base / "db"), durable=False):
            home = find(base / "db")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.path.iterdir()}
            home_mode = stat.S_IMODE(home.path.stat().st_mode)
    finally:
        os.umask(previous)
    assert home_mode in {0o700, 0o710}
    assert (modes["password"], modes["run"], modes["data"]) == (0o600, 0o700, 0o700)
    assert [name for name, mode in modes.items() if mode & 0o007] == []


def test_a_long_path_gets_a_short_and_private_socket(base: Path, furnish: Furnish) -> None:
    deep = base / ("deep" * 20) / ("er" * 40)
    deep.parent.mkdir(mode=0o711)
    deep.mkdir(mode=0o711)
    with EmbeddedPostgres(furnish(deep / "db"), durable=False) as server:
        socket_directory = Path(str(conninfo_to_dict(server.uri)["host"]))
        assert len(os.fsencode(socket_directory)) < 80
        assert stat.S_IMODE(socket_directory.stat().st_mode) == 0o700
        assert query(server.uri, "SELECT 1") == [(1,)]
    assert not socket_directory.exists()


@as_root
def test_the_operator_names_the_os_user(
    base: Path, furnish: Furnish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPM_PG_OS_USER", "nobody")
    furnish(base / "db")
    for _ in range(2):
        with EmbeddedPostgres(base / "db", durable=False) as server:
            assert Path(f"/proc/{server_pid(base / 'db')}").owner() == "nobody"
            assert query(server.uri, "SELECT 1") == [(1,)]
        monkeypatch.delenv("CPM_PG_OS_USER", raising=False)


@as_root
def test_below_a_private_directory_the_files_go_elsewhere_and_no_permission_changes(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o700)
    modes = [parent.stat().st_mode for parent in tmp_path.parents]
    for _ in range(2):
        with EmbeddedPostgres(tmp_path / "db", durable=False) as server:
            query(server.uri, "CREATE TABLE IF NOT EXISTS kept ()")
    home = find(tmp_path / "db")
    assert home.path.parent == state_directory() / "clusters"
    assert (tmp_path / "db" / "location").read_text().strip() == str(home.path)
    assert [parent.stat().st_mode for parent in tmp_path.parents] == modes


@as_root
def test_a_discarded_cluster_is_gone_wherever_it_was(
    base: Path, tmp_path: Path, furnish: Furnish
) -> None:
    tmp_path.chmod(0o700)
    for directory in (furnish(base / "db"), furnish(tmp_path / "db")):
        home = find(directory)
        with EmbeddedPostgres(directory, durable=False), pytest.raises(AlreadyRunning):
            discard(directory)
        (directory / "of somebody else").touch()
        discard(directory)
        assert not home.data.exists()
        assert [path.name for path in directory.iterdir()] == ["of somebody else"]


@as_root
def test_scratch_is_swept_once_its_directory_is_gone_and_a_durable_cluster_never(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o700)
    homes = []
    for name in ("scratch", "durable"):
        home = Cluster(tmp_path / name).home
        mark_durability(home, durable=name == "durable")
        homes.append(home.path)
        shutil.rmtree(tmp_path / name)
    Cluster(tmp_path / "another")
    assert [path.exists() for path in homes] == [False, True]
