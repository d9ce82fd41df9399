"""Cleanup forgets what nobody needs any longer, and its log says of each record what and why."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connection, transaction

from cpm.engine import cleanup, deletions, jobs, queue, sweep
from cpm.engine.settings import Cleanup
from cpm.kernel import clock, times
from cpm.models.audit import AuditEntry
from cpm.models.backups import Backup
from cpm.models.events import Event, Stream
from cpm.models.users import BadAttempt, User, UserKind
from tests.engine.world import World, volume_target

Said = list[tuple[str, int | None]]


def attempt(subject: str, age: timedelta) -> None:
    BadAttempt.objects.create(
        scope="token", subject=subject, window_started_at=clock.now() - age, count=3
    )


def entry(age_days: float, user: User | None = None) -> AuditEntry:
    at = clock.now() - timedelta(days=age_days)
    return AuditEntry.objects.create(at=at, event_type="test", user=user)


def said(after: int = 0) -> Said:
    """The cleanup log after a line: codes, and the records that they speak of."""
    lines = Event.objects.filter(stream=Stream.CLEANUP, pk__gt=after).order_by("pk")
    return [(line.code, line.values.get("record")) for line in lines]


def last_line() -> int:
    return Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def test_attempts_of_windows_long_past_are_forgotten(world: World) -> None:
    attempt("10.0.0.1", timedelta(days=2))
    attempt("10.0.0.2", timedelta(seconds=5))
    cleanup.run()
    assert list(BadAttempt.objects.values_list("subject", flat=True)) == ["10.0.0.2"]


def test_its_log_says_when_it_began_and_what_it_did(world: World) -> None:
    cleanup.run()
    assert said() == [("cleanup_started", None), ("cleanup_finished", None)]


def test_each_record_has_one_line_for_each_reason_and_none_while_it_stays(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=2)
    one, two, three = (world.backup(policy) for _ in range(3))
    kept, gone = "kept_generation", "record_emptied"
    of_records = [line for line in said() if line[1]]
    assert of_records == [
        *((kept, one.pk), (kept, two.pk), (kept, three.pk)),
        *(("record_expired", one.pk), (gone, one.pk)),
    ]
    Backup.objects.filter(pk=two.pk).update(is_frozen=True, name="keep")
    before = last_line()
    cleanup.run()
    cleanup.run()
    assert [line for line in said(before) if line[1]] == [("kept_frozen", two.pk)]


def test_the_interval_is_honoured_from_the_end_of_the_last_cleanup(world: World) -> None:
    world.work()
    first = Cleanup.current().last_cleanup_time
    assert first is not None
    Cleanup.change(cleanup_interval_hours=2)
    world.pass_time(timedelta(minutes=119))
    assert Cleanup.current().last_cleanup_time == first
    world.pass_time(timedelta(minutes=2))
    second = Cleanup.current().last_cleanup_time
    assert second is not None
    assert times.parse(second) - times.parse(first) >= timedelta(hours=2)


def test_one_that_is_asked_for_runs_once_however_often_it_is_asked_for(world: World) -> None:
    world.work()
    before = last_line()
    for _ in range(3):
        cleanup.ask()
    world.work()
    world.work()
    assert said(before) == [("cleanup_started", None), ("cleanup_finished", None)]


def test_one_whose_worker_dies_goes_on(world: World) -> None:
    policy = world.policy(volume_target(world.volume()), generations=1)
    world.backup(policy)
    before = last_line()
    cleanup.ask()
    # The worker takes the job, and dies before it has done anything.
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM procrastinate_fetch_job_v2(NULL, NULL)")
    sweep.sweep()
    assert not queue.run_next()
    assert queue.take_over_stalled(0) == 1
    world.work()
    assert said(before) == [("cleanup_started", None), ("cleanup_finished", None)]
    assert not Cleanup.current().is_wanted


def test_a_job_that_comes_when_nothing_is_due_does_nothing(world: World) -> None:
    world.work()
    before = last_line()
    jobs.CLEAN_UP.perform({})
    assert said(before) == []


def test_records_go_when_nothing_has_been_left_of_them_for_the_days_of_the_setting(
    world: World,
) -> None:
    policy = world.policy(volume_target(world.volume()))
    emptied, kept = world.backup(policy), world.backup(policy)
    Cleanup.change(keep_records_days=10)
    world.pass_time(timedelta(days=20))
    deletions.request(deletions.of_backup(emptied))
    world.drain()
    world.pass_time(timedelta(days=9))
    cleanup.run()
    assert set(Backup.objects.values_list("pk", flat=True)) == {emptied.pk, kept.pk}
    world.pass_time(timedelta(days=2))
    cleanup.run()
    assert set(Backup.objects.values_list("pk", flat=True)) == {kept.pk}
    assert ("record_forgotten", emptied.pk) in said()


def test_a_failed_record_that_never_had_a_snapshot_goes_by_its_own_age(world: World) -> None:
    target = volume_target("vol-0123456789abcdef0")
    failed = world.backup(world.policy(target))
    assert failed.outcome == "F"
    Cleanup.change(keep_records_days=1)
    cleanup.run()
    assert Backup.objects.filter(pk=failed.pk).exists()
    world.pass_time(timedelta(hours=25))
    cleanup.run()
    assert not Backup.objects.filter(pk=failed.pk).exists()


def test_audit_entries_older_than_the_setting_go_and_the_trail_says_so(world: World) -> None:
    Cleanup.change(keep_audit_days=30)
    entry(31), entry(40)
    young = entry(29)
    cleanup.run()
    left = AuditEntry.objects.order_by("-at")
    assert [each.event_type for each in left] == ["drop audit entries", "test"]
    assert left[0].description.startswith("2 entries before ")
    assert left[1].pk == young.pk
    finished = Event.objects.filter(code="cleanup_finished").latest("pk")
    assert finished.values["audit"] == 2
    cleanup.run()
    assert AuditEntry.objects.count() == 2


def test_audit_entries_of_a_moved_clock_go_by_it(world: World) -> None:
    entry(0)
    world.pass_time(timedelta(days=366))
    cleanup.run()
    assert [each.event_type for each in AuditEntry.objects.all()] == ["drop audit entries"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cpm_auditentry SET user_name = 'nobody'",
        "UPDATE cpm_auditentry SET at = now() - interval '5 years'",
        "DELETE FROM cpm_auditentry",
        "TRUNCATE cpm_auditentry",
    ],
)
def test_the_trail_is_neither_changed_nor_deleted_by_anybody(db: None, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cpm_auditentry ENABLE TRIGGER cpm_audit_no_truncate")
        entry(3)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(IntegrityError, match="audit trail"), transaction.atomic():
            cursor.execute(statement)
    assert AuditEntry.objects.get().user_name == ""


def test_entries_outlive_the_user_they_speak_of(db: None) -> None:
    user = User.objects.create(username="u", kind=UserKind.MANAGED, created_at=clock.now())
    kept = entry(3, user)
    user.delete()
    kept.refresh_from_db()
    assert kept.user is None


def test_console_sessions_that_have_expired_are_forgotten(world: World) -> None:
    for key, age in (("old", timedelta(seconds=5)), ("new", timedelta(hours=-1))):
        Session.objects.create(session_key=key, expire_date=clock.now() - age)
    cleanup.run()
    assert list(Session.objects.values_list("session_key", flat=True)) == ["new"]
