"""A job is a wake-up call: it commits with its row, comes once, and outlives who works on it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import structlog
from django.db import connection, transaction

from cpm.engine import queue, tick
from cpm.engine.queue import Overtaken, Task
from cpm.kernel import clock
from cpm.models.backups import BackupOutcome
from cpm.models.operations import Operation, OperationOutcome, OperationPhase
from cpm.models.recoveries import RecoveryOutcome
from cpm.models.users import User, UserKind
from tests.engine.workers import worker_process
from tests.engine.world import (
    World,
    at_once,
    fail_until_given_up,
    log_of,
    open_alerts,
    recover,
    volume_target,
)

PATIENCE_SECONDS = 120.0

_done: list[int] = []

REMEMBER = Task("remember", priority=50)
URGENT = Task("remember_urgently", priority=90)
FAIL = Task("fail", priority=50)
NEXT = Task("defer_itself", priority=50)
TELL_CONNECTION = Task("tell_connection", priority=50)
CLOSE_CONNECTION = Task("close_connection", priority=50)


@REMEMBER.runs
@URGENT.runs
def remember(number: int) -> None:
    _done.append(number)


@FAIL.runs
def fail(number: int) -> None:
    raise ZeroDivisionError(number)


@FAIL.gives_up
def remember_instead(number: int) -> None:
    _done.append(number)


@NEXT.runs
def defer_another(number: int) -> None:
    _done.append(number)
    if number:
        NEXT.defer("next", number=number - 1)


@TELL_CONNECTION.runs
def tell_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    _done.append(pid)


@CLOSE_CONNECTION.runs
def close_connection() -> None:
    connection.close()


@pytest.fixture
def done(database: None) -> list[int]:
    """The numbers of the jobs that were done."""
    _done.clear()
    return _done


def waiting() -> int:
    """How many jobs there are, done ones aside."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_jobs")
        (count,) = cursor.fetchone()
    return int(count)


def work() -> None:
    while queue.run_next():
        pass


def make_user(name: str) -> None:
    User.objects.create(username=name, kind=UserKind.MANAGED, created_at=clock.now())


# --- deferring -----------------------------------------------------------------------------------


def test_a_job_commits_with_its_row(done: list[int]) -> None:
    with transaction.atomic():
        make_user("ann")
        REMEMBER.defer("one", number=1)
        # Nobody else sees it yet.
        assert at_once(1, waiting) == [0]
    assert at_once(1, waiting) == [1]
    work()
    assert done == [1]
    assert waiting() == 0


def test_a_job_is_undone_with_its_row(done: list[int]) -> None:
    with transaction.atomic():
        REMEMBER.defer("one", number=1)
        REMEMBER.defer_all({"two": {"number": 2}})
        transaction.set_rollback(True)
    work()
    assert done == []


def test_a_duplicate_spoils_no_transaction(done: list[int]) -> None:
    REMEMBER.defer("one", number=1)
    with transaction.atomic():
        make_user("ann")
        REMEMBER.defer("one", number=1)
        REMEMBER.defer_all({"one": {"number": 1}, "two": {"number": 2}})
        make_user("bob")
    assert User.objects.filter(username__in=["ann", "bob"]).count() == 2
    work()
    assert sorted(done) == [1, 2]


def test_of_many_who_defer_at_once_none_fails_and_one_job_comes_of_it(done: list[int]) -> None:
    at_once(6, partial(REMEMBER.defer, "one", number=1))
    many = {f"many:{number}": {"number": number} for number in range(20)}
    at_once(6, partial(REMEMBER.defer_all, many))
    work()
    assert sorted(done) == sorted([1, *range(20)])


def test_a_job_may_be_deferred_again_while_it_runs(done: list[int]) -> None:
    NEXT.defer("next", number=3)
    work()
    assert done == [3, 2, 1, 0]


def test_of_many_pieces_those_that_are_being_done_are_left_out(done: list[int]) -> None:
    FAIL.defer("one", number=1)
    with pytest.raises(ZeroDivisionError):
        queue.run_next()  # which leaves it claimed
    REMEMBER.defer_all({"one": {"number": 1}, "two": {"number": 2}})
    assert waiting() == 2
    work()
    assert done == [2]


def test_two_jobs_of_one_key_do_not_run_at_once(done: list[int]) -> None:
    FAIL.defer("one", number=1)
    with pytest.raises(ZeroDivisionError):
        queue.run_next()  # which leaves it claimed
    REMEMBER.defer("one", number=2)
    assert not queue.run_next()
    assert queue.take_over_stalled(60) == 1
    assert waiting() == 1  # of two that wait for one row one will do
    work()
    assert done == [2]


def test_what_is_urgent_comes_first(done: list[int]) -> None:
    for number in range(3):
        REMEMBER.defer(f"later:{number}", number=number)
    URGENT.defer("now", number=100)
    work()
    assert done == [100, 0, 1, 2]


def test_who_was_overtaken_has_nothing_to_do(done: list[int]) -> None:
    task = Task("be_overtaken", priority=50)

    @task.runs
    def be_overtaken() -> None:
        raise Overtaken("somebody was first")

    task.defer("one")
    work()
    assert waiting() == 0


# --- failing -------------------------------------------------------------------------------------


def test_a_job_that_keeps_failing_is_given_up(done: list[int]) -> None:
    FAIL.defer("one", number=7)
    for _ in range(queue.MOST_ATTEMPTS):
        with pytest.raises(ZeroDivisionError):
            queue.run_next()
        assert queue.take_over_stalled(60) == 1
    work()
    assert done == [7]
    assert waiting() == 0


def test_a_worker_tries_a_failing_job_again(done: list[int]) -> None:
    FAIL.defer("one", number=7)
    REMEMBER.defer("two", number=1)
    with worker_thread():
        wait_until(lambda: attempts_of("one") >= 1 and _done == [1])
    assert waiting() == 1  # in a while


def attempts_of(key: str) -> int:
    """How often the job was tried."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT attempts FROM procrastinate_jobs WHERE lock = %s", [key])
        (attempts,) = cursor.fetchone()
    return int(attempts)


def test_an_operation_at_which_our_code_fails_is_closed(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), volume_target(world.volume()))
    backup = tick.run_now(policy)
    world.simulator.faults([{"op": "ec2:CreateSnapshot", "kind": "throttle", "times": 2}])
    world.work()
    broken = Operation.objects.filter(backup=backup)[0]
    Operation.objects.filter(pk=broken.pk).update(effect="no_such_effect")
    fail_until_given_up(world)
    broken.refresh_from_db()
    assert (broken.phase, broken.outcome) == (OperationPhase.CLOSED, OperationOutcome.FAILED)
    assert "error of the server" in broken.error
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.PARTIAL
    assert "snapshot_failed" in log_of(backup)


def test_a_backup_at_which_our_code_fails_is_closed(world: World) -> None:
    target = volume_target(world.volume())
    target.kind = "no_such_kind"
    backup = tick.run_now(world.policy(target))
    fail_until_given_up(world)
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.FAILED
    assert log_of(backup)[-1] == "backup_failed"
    assert backup.policy is not None
    assert f"policy:{backup.policy.pk}:failed" in open_alerts()


def test_a_recovery_at_which_our_code_fails_is_closed(world: World) -> None:
    backup = world.backup(world.policy(volume_target(world.volume())))
    recovery = recover(backup.snapshots.get())
    recovery.operations.update(effect="no_such_effect")
    fail_until_given_up(world)
    recovery.refresh_from_db()
    assert recovery.outcome == RecoveryOutcome.FAILED
    assert "error of the server" in recovery.error


# --- workers -------------------------------------------------------------------------------------


def test_a_worker_does_what_comes_and_stops_when_told(done: list[int]) -> None:
    REMEMBER.defer("before", number=1)
    with worker_thread():
        wait_until(lambda: _done == [1])
        REMEMBER.defer("during", number=2)
        wait_until(lambda: _done == [1, 2])
        assert queue.live_workers() == 1
    REMEMBER.defer("after", number=3)
    assert _done == [1, 2]
    assert waiting() == 1


def test_a_worker_that_is_told_to_stop_while_it_begins_stops(done: list[int]) -> None:
    for milliseconds in range(0, 80, 4):
        with worker_thread():
            clock.sleep(milliseconds / 1000)
    assert queue.live_workers() == 0


def test_a_job_does_not_notice_that_the_connection_of_the_one_before_it_is_gone(
    done: list[int],
) -> None:
    with structlog.testing.capture_logs() as log, worker_thread(concurrency=1):
        for number in range(3):
            TELL_CONNECTION.defer("tell")
            wait_until(lambda expected=number + 1: len(_done) == expected)  # type: ignore[misc]
            end_connection(_done[-1])
        CLOSE_CONNECTION.defer("close")
        wait_until(lambda: waiting() == 0)
    assert len(set(done)) == 3
    assert not [line for line in log if line["event"].startswith("job.")]


def end_connection(pid: int) -> None:
    """As a restart of PostgreSQL does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        assert cursor.fetchone() == (True,)


def test_the_job_of_a_killed_worker_is_taken_over_and_done_once(
    world: World, database_url: str
) -> None:
    backup = tick.run_now(world.policy(volume_target(world.volume())))
    world.simulator.faults([{"op": "ec2:CreateSnapshot", "kind": "hang"}])
    with worker_process(world.simulator, database_url) as process:
        wait_until(lambda: backup.operations.filter(phase=OperationPhase.STARTING).exists())
        process.send_signal(signal.SIGKILL)
        process.wait()
    world.simulator.faults([])
    world.work()
    assert backup.operations.get().phase == OperationPhase.STARTING  # somebody else's, it seems
    assert queue.take_over_stalled(0) >= 1
    world.drain()
    backup.refresh_from_db()
    assert backup.outcome == BackupOutcome.SUCCEEDED
    assert len(world.snapshots_in_aws(cpm_backup_id=str(backup.pk))) == 1


@contextmanager
def worker_thread(concurrency: int = 2) -> Iterator[None]:
    """A worker of this process."""
    stop = threading.Event()
    pace = queue.Pace(poll_seconds=0.5)

    def run() -> None:
        queue.run_worker(stop=stop, concurrency=concurrency, pace=pace)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what other threads and processes do."""
    assert clock.wait_until(condition, timeout_seconds=PATIENCE_SECONDS)
