"""The embedded database is dumped once a day."""

from datetime import timedelta
from pathlib import Path

from cpm.kernel import clock
from cpm.postgres import dumps
from cpm.postgres.process import EmbeddedPostgres
from cpm.server.dumping import DailyDump


def test_a_dump_is_made_at_once_and_again_after_a_day(tmp_path: Path) -> None:
    database, destination = tmp_path / "postgres", tmp_path / "dumps"
    with EmbeddedPostgres(database, durable=False):
        daily = DailyDump(database, destination)
        daily.make_if_due()
        assert clock.wait_until(lambda: len(dumps.dumps_in(destination)) == 1, timeout_seconds=60)
        daily.make_if_due()
        clock.set_offset(timedelta(days=1, minutes=1))
        try:
            assert clock.wait_until(lambda: not daily.is_running, timeout_seconds=60)
            daily.make_if_due()
            assert clock.wait_until(
                lambda: len(dumps.dumps_in(destination)) == 2, timeout_seconds=60
            )
        finally:
            clock.set_offset(timedelta())


def test_a_failed_dump_leaves_the_server_running(tmp_path: Path) -> None:
    daily = DailyDump(tmp_path / "no-database-here", tmp_path / "dumps")
    daily.make_if_due()
    assert clock.wait_until(lambda: not daily.is_running, timeout_seconds=60)
    assert dumps.dumps_in(tmp_path / "dumps") == []
