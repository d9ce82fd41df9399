"""Servers are killed while they answer, and while they work."""

import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest
from django.db import connection, transaction

from cpm.models.backups import Backup
from cpm.server import ports
from cpm.services import tokens
from tests.crash.processes import Fleet, a_fleet, kill
from tests.crash.stories import BackupStory, check_quiet, is_over
from tests.crash.time import TimedWorld


@pytest.mark.parametrize("table", ["cpm_backup", "procrastinate_jobs", "cpm_auditentry"])
def test_a_web_server_killed_before_the_commit_leaves_nothing(
    world: TimedWorld, database_url: str, tmp_path: Path, table: str
) -> None:
    story = BackupStory(world)
    with a_fleet(world, tmp_path, database_url) as fleet:
        request = _request(fleet, story)
        with _writes_held_up(table), _sent(request):
            fleet.wait_for(_somebody_waits_for_a_lock, time_passes=False)
            fleet.end()
        # The database has noticed, too.
        fleet.wait_for(lambda: _writers() == 0, time_passes=False)
    assert not Backup.objects.exists()
    world.drain()
    check_quiet()
    assert world.snapshots_in_aws() == []


def test_a_backup_runs_though_the_web_server_was_killed_after_the_commit(
    world: TimedWorld, database_url: str, tmp_path: Path
) -> None:
    story = BackupStory(world)
    with a_fleet(world, tmp_path, database_url) as fleet, _sent(_request(fleet, story)):
        fleet.wait_for(Backup.objects.exists, time_passes=False)
        fleet.end()
    world.drain()
    check_quiet()
    story.check()


@pytest.mark.parametrize("operation", ["CreateSnapshots", "DescribeSnapshots"])
def test_a_whole_server_killed_in_the_middle_of_a_backup_ends_it_when_it_is_back(
    world: TimedWorld, database_url: str, tmp_path: Path, operation: str
) -> None:
    hang = {"op": f"ec2:{operation}", "kind": "hang", "seconds": 120, "times": 1}
    world.simulator.faults([hang])
    story = BackupStory(world)
    with a_fleet(world, tmp_path, database_url, CPM_BIND="127.0.0.1") as fleet:
        story.ask()
        server = fleet.start("serve", "--port", str(ports.claim("127.0.0.1", 0)))
        fleet.wait_for(lambda: bool(world.simulator.get("faults")[0]["times"] == 0))
        kill(server)
        again = fleet.start("serve", "--port", str(ports.claim("127.0.0.1", 0)))
        fleet.wait_for(is_over)
        kill(again)
    check_quiet()
    story.check()


@contextmanager
def _writes_held_up(table: str) -> Iterator[None]:
    """Nobody else gets to write into the table."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        yield


def _request(fleet: Fleet, story: BackupStory) -> urllib.request.Request:
    """What asks a web server, which is started for it, for the backup."""
    key = tokens.create_key(fleet.world.user, actor=None)
    token = tokens.obtain(key, "127.0.0.1").access
    port = ports.claim("127.0.0.1", 0)
    fleet.start("web", "--bind", "127.0.0.1", "--port", str(port))
    fleet.wait_for(lambda: _answers(port), time_passes=False)
    address = f"https://127.0.0.1:{port}/api/policies/{story.policy.pk}/backups/"
    return urllib.request.Request(address, b"", {"Authorization": f"Bearer {token}"})


@contextmanager
def _sent(request: urllib.request.Request) -> Iterator[None]:
    """The request is on its way; nobody cares about the answer."""
    asking = threading.Thread(target=_post, args=(request,))
    asking.start()
    yield
    asking.join()


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"https://127.0.0.1:{port}/healthz", context=_tls(), timeout=10)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _post(request: urllib.request.Request) -> None:
    try:
        urllib.request.urlopen(request, context=_tls(), timeout=120).close()
    except (OSError, HTTPException):
        return


def _tls() -> ssl.SSLContext:
    """Whoever answers there is ours."""
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    return tls


def _somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        (waiting,) = cursor.fetchone()
    return bool(waiting)


def _writers() -> int:
    """How many others have a transaction open."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND xact_start IS NOT NULL"
            " AND pid <> pg_backend_pid()"
        )
        (others,) = cursor.fetchone()
    return int(others)
