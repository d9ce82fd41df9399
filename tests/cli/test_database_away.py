"""The database goes away, and comes back."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from cpm.kernel import clock
from cpm.postgres import discard
from cpm.postgres.process import EmbeddedPostgres
from tests.cli.commands import START_SECONDS, cpm, start

QUEUES = 4
# Who is told of new jobs at once.
LISTENING = ("pid", "pg_stat_activity WHERE query LIKE 'LISTEN %'")
# Much longer than it takes, and shorter than anything waits that waits for the database.
STOPPED_WITHIN_SECONDS = 25.0


class Elsewhere:
    """A PostgreSQL that others look after, with the product's tables."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.directory = directory / "postgres"
        self.postgres = EmbeddedPostgres(self.directory, durable=False)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.postgres.uri,
            "CPM_DATA": str(self.data),
            "CPM_SECRET_KEY": "the key of the tests",
            "CPM_AWS_ENDPOINT": "http://127.0.0.1:9",
        }

    def ids(self, column: str, of: str) -> set[int]:
        with psycopg.connect(self.postgres.uri) as connection:
            return {number for (number,) in connection.execute(f"SELECT {column} FROM {of}")}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    made = Elsewhere(tmp_path_factory.mktemp("elsewhere"))
    with made.postgres:
        done = cpm("migrate", **made.environment)
        assert done.returncode == 0, done.stderr
        yield made
    discard(made.directory)


def test_a_worker_goes_on_when_the_database_is_back_and_stops_when_it_is_away(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    environment = {**elsewhere.environment, "CPM_WORKER_STALLED_SECONDS": "3"}
    worker = start("worker", output=output, **environment)

    def wait_for(condition: Callable[[], bool]) -> None:
        assert clock.wait_until(condition, timeout_seconds=START_SECONDS), output.read_text()

    def told(what: str, times: int = 1) -> None:
        wait_for(lambda: output.read_text().count(f"worker.{what}") >= times)

    def all_are(column: str, of: str) -> None:
        """Waits until all queues have been seen there, be it one after the other."""
        seen: set[int] = set()

        def have_been_seen() -> bool:
            seen.update(elsewhere.ids(column, of))
            return len(seen) >= QUEUES

        wait_for(have_been_seen)

    try:
        all_are(*LISTENING)
        elsewhere.postgres.stop()
        told("database_away")
        elsewhere.postgres.start()
        all_are(*LISTENING)
        all_are("id", "procrastinate_workers WHERE last_heartbeat > pg_postmaster_start_time()")
        told("database_back")
        before = output.read_text().count("worker.database_away")
        elsewhere.postgres.stop()
        told("database_away", times=before + 1)
        worker.terminate()
        assert worker.wait(STOPPED_WITHIN_SECONDS) == 0
    finally:
        worker.kill()
        elsewhere.postgres.start()
    assert "Traceback" not in output.read_text()
    assert len(output.read_text().splitlines()) < 20


@pytest.fixture(scope="module")
def without(elsewhere: Elsewhere) -> Iterator[dict[str, str]]:
    """The environment of commands that do not find the database."""
    environment = elsewhere.environment
    elsewhere.postgres.stop()
    yield environment
    elsewhere.postgres.start()


@pytest.mark.parametrize("command", ["backup list", "serve --port 0"])
def test_commands_tell_that_the_database_is_away_and_what_to_look_at(
    without: dict[str, str], command: str
) -> None:
    done = cpm(*command.split(), **without)
    assert (done.returncode, done.stdout) == (1, "")
    told = done.stderr.strip().splitlines()[-1]
    assert told.startswith("The database does not answer (")
    assert "Check DATABASE_URL" in told
    assert "Traceback" not in done.stderr


def test_the_doctor_tells_in_a_line_that_the_database_is_away(without: dict[str, str]) -> None:
    done = cpm("doctor", "--json", **without)
    assert done.returncode == 1
    (finding,) = [each for each in json.loads(done.stdout) if each["check"] == "database"]
    assert not finding["ok"]
    assert len(finding["detail"].splitlines()) == 1
    assert "Check DATABASE_URL" in finding["advice"]
