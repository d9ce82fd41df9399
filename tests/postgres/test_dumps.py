"""Dumps: whole or not there, private, few, and good for a restore."""

import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from cpm.kernel import clock
from cpm.postgres import EmbeddedPostgres, NotRunning, binaries
from cpm.postgres.dumps import dump, dumps_in
from cpm.postgres.errors import DumpFailed
from tests.postgres.processes import query


def test_a_dump_restores_into_a_new_database(server: EmbeddedPostgres, base: Path) -> None:
    query(server.uri, "CREATE TABLE kept AS SELECT 42 AS answer")
    path = dump(server.directory, base / "dumps")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    query(server.uri, "CREATE DATABASE restored")
    restored = server.uri.replace("/cpm?", "/restored?")
    program = str(binaries.for_ourselves() / "pg_restore")
    options = ["--exit-on-error", "--no-owner", "--dbname", restored]
    subprocess.run([program, *options, path], check=True)
    assert query(restored, "SELECT answer FROM kept") == [(42,)]
    assert query(restored, "SELECT similarity('a', 'a')") == [(1.0,)]


def test_only_the_newest_dumps_are_kept(
    server: EmbeddedPostgres, base: Path, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: clock.set_offset(timedelta()))
    made = []
    for day in range(3):
        clock.set_offset(timedelta(days=day))
        made.append(dump(server.directory, base / "dumps", keep=2))
    assert dumps_in(base / "dumps") == [made[2], made[1]]
    assert sorted(path.suffix for path in (base / "dumps").iterdir()) == ["", ".dump", ".dump"]


def test_a_failed_dump_leaves_nothing_and_deletes_nothing(
    server: EmbeddedPostgres, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = base / "bin"
    programs.mkdir()
    for name in ("postgres", "pg_dump"):
        (programs / name).write_text("#!/bin/sh\nprintf PGDMP; echo out of luck >&2; exit 1\n")
        (programs / name).chmod(0o755)
    first = dump(server.directory, base / "dumps")
    (base / "dumps" / "cpm-20200101T000000Z.part").write_text("of a killed dump")
    monkeypatch.setenv("PG_BIN", str(programs))
    with pytest.raises(DumpFailed, match="out of luck"):
        dump(server.directory, base / "dumps", keep=1)
    assert {path.name for path in (base / "dumps").iterdir()} == {first.name, ".lock"}


def test_a_dump_needs_a_running_server(base: Path) -> None:
    with pytest.raises(NotRunning):
        dump(base / "db", base / "dumps")
