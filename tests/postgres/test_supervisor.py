"""The supervisor as a program: `python -m cpm.postgres DIR`."""

import signal
import stat
from pathlib import Path

import pytest

from cpm.kernel import clock
from tests.postgres.processes import (
    PATIENCE_SECONDS,
    await_lock,
    is_running,
    query,
    server_pid,
    supervisor_of,
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_nothing_left(
    directory: Path, base: Path, number: signal.Signals
) -> None:
    ready_file = base / "uri"
    with supervisor_of(directory, "--ready-file", str(ready_file)) as supervisor:
        assert clock.wait_until(ready_file.exists, timeout_seconds=PATIENCE_SECONDS)
        assert query(ready_file.read_text(), "SELECT 1") == [(1,)]
        assert stat.S_IMODE(ready_file.stat().st_mode) == 0o600
        postgres = server_pid(directory)
        supervisor.send_signal(number)
        assert supervisor.wait(PATIENCE_SECONDS) == 0
    assert not is_running(postgres)
    assert not ready_file.exists()
    assert not list(directory.rglob(".s.PGSQL*"))


def test_a_second_one_says_who_the_first_is(directory: Path) -> None:
    with supervisor_of(directory) as first:
        await_lock(directory)
        with supervisor_of(directory) as second:
            assert second.wait(PATIENCE_SECONDS) == 3
            assert second.stderr is not None
            assert f"already run by process {first.pid}" in second.stderr.read()
