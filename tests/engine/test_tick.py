"""Policies run when their schedules say so: once for each time, and never for a time long past."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cpm.engine import tick
from cpm.kernel import times
from cpm.models.alerts import Alert
from cpm.models.backups import Backup, BackupOutcome, Trigger
from cpm.models.events import Event
from cpm.models.policies import Policy, PolicySchedule
from cpm.models.schedules import Schedule
from tests.engine.world import World, arm, at_once, open_alerts, volume_target

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
# A Tuesday, far enough ahead that no test has to turn the clock back.
NOON = datetime(2030, 1, 15, 12, 0, tzinfo=UTC)

ASK = "ec2:CreateSnapshot"


@pytest.fixture
def noon(world: World) -> World:
    """The world at noon."""
    world.move_to(NOON)
    return world


@pytest.fixture
def in_zone(settings: Any) -> Callable[[str], None]:
    """Puts the server into a time zone."""

    def put(zone: str) -> None:
        settings.ENVIRONMENT = replace(settings.ENVIRONMENT, time_zone=zone)

    return put


def idle_policy(world: World, **columns: Any) -> Policy:
    """A policy whose runs are over at once, for want of anything to protect."""
    return world.policy(**columns)


def hourly(world: World, policy: Policy, **columns: Any) -> Schedule:
    return world.schedule(policy, **{"every_unit": "H", "every_how_many": 1, **columns})


def run_times(policy: Policy) -> list[datetime]:
    """The times that the policy ran for, in the order of its records."""
    runs = Backup.objects.filter(policy=policy, trigger=Trigger.SCHEDULE).order_by("pk")
    return [at for at in runs.values_list("scheduled_at", flat=True) if at is not None]


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- when a run is due ---------------------------------------------------------------------------


def test_a_policy_runs_at_each_time_of_its_schedule(noon: World) -> None:
    policy = noon.policy(volume_target(noon.volume()))
    schedule = hourly(noon, policy)
    noon.pass_time(2 * HOUR + MINUTE)
    assert run_times(policy) == [NOON + HOUR, NOON + 2 * HOUR]
    backup = Backup.objects.order_by("pk")[0]
    assert backup.schedule_name == schedule.name
    assert backup.outcome == BackupOutcome.SUCCEEDED


def test_nothing_runs_for_times_before_the_schedule_was_linked(noon: World) -> None:
    policy = idle_policy(noon)
    hourly(noon, policy, start_at=NOON - 100 * HOUR - 30 * MINUTE)
    noon.pass_time(29 * MINUTE)
    assert run_times(policy) == []
    noon.pass_time(2 * MINUTE)
    assert run_times(policy) == [NOON + 30 * MINUTE]


def test_nothing_runs_for_times_at_which_the_policy_was_disabled(noon: World) -> None:
    policy = idle_policy(noon, enabled=False)
    hourly(noon, policy)
    noon.pass_time(3 * HOUR + 30 * MINUTE)
    Policy.objects.filter(pk=policy.pk).update(enabled=True)
    arm(policy)
    noon.work()
    assert run_times(policy) == []
    noon.pass_time(HOUR)
    assert run_times(policy) == [NOON + 4 * HOUR]


def test_a_policy_that_is_disabled_runs_no_more(noon: World) -> None:
    policy = idle_policy(noon)
    hourly(noon, policy)
    noon.pass_time(HOUR + MINUTE)
    Policy.objects.filter(pk=policy.pk).update(enabled=False)
    arm(policy)
    noon.pass_time(5 * HOUR)
    assert run_times(policy) == [NOON + HOUR]


def test_a_policy_disabled_behind_the_ticks_back_does_not_run(noon: World) -> None:
    policy = idle_policy(noon)
    hourly(noon, policy)
    Policy.objects.filter(pk=policy.pk).update(enabled=False)
    noon.pass_time(2 * HOUR)
    assert run_times(policy) == []
    assert PolicySchedule.objects.get().next_run_at is None


def test_a_schedule_that_is_changed_is_due_by_what_it_then_says(noon: World) -> None:
    policy = idle_policy(noon)
    schedule = hourly(noon, policy)
    noon.pass_time(HOUR + 30 * MINUTE)
    changed = {"start_at": NOON - 2 * HOUR + 15 * MINUTE, "every_how_many": 2}
    Schedule.objects.filter(pk=schedule.pk).update(**changed)
    tick.arm_schedule(schedule.pk)
    noon.pass_time(3 * HOUR)
    # 12:15 is a time of the new grid, but was past when the grid was made.
    assert run_times(policy) == [NOON + HOUR, NOON + 2 * HOUR + 15 * MINUTE, NOON + 255 * MINUTE]


def test_the_start_is_the_first_run_and_the_end_is_the_last(noon: World) -> None:
    policy = idle_policy(noon)
    hourly(noon, policy, start_at=NOON + HOUR, end_at=NOON + 3 * HOUR)
    noon.pass_time(6 * HOUR)
    assert run_times(policy) == [NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]
    assert PolicySchedule.objects.get().next_run_at is None


def test_a_schedule_without_a_policy_does_no_harm(noon: World) -> None:
    policy = idle_policy(noon)
    schedule = hourly(noon, policy)
    PolicySchedule.objects.all().delete()
    tick.arm_schedule(schedule.pk)
    noon.pass_time(3 * HOUR)
    assert run_times(policy) == []


def test_a_schedule_that_is_deleted_detaches_from_its_policies(noon: World) -> None:
    policy = idle_policy(noon)
    schedule = hourly(noon, policy)
    noon.pass_time(HOUR + MINUTE)
    name = schedule.name
    schedule.delete()
    noon.pass_time(5 * HOUR)
    assert run_times(policy) == [NOON + HOUR]
    assert Backup.objects.get().schedule_name == name
    assert Policy.objects.filter(pk=policy.pk).exists()


# --- what is skipped of the grid -----------------------------------------------------------------


def test_windows_skip_runs_and_do_not_shift_the_grid(noon: World) -> None:
    policy = idle_policy(noon)
    windows = [
        {"day": "all", "start_time": "13:00", "end_time": "14:00"},
        {"day": "tuesday", "start_time": "15:00", "end_time": "15:01"},
        {"day": "monday", "start_time": "16:00", "end_time": "17:00"},
    ]
    hourly(noon, policy, disable_times=windows)
    noon.pass_time(5 * HOUR)
    assert run_times(policy) == [NOON + 2 * HOUR, NOON + 4 * HOUR, NOON + 5 * HOUR]


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_starts(noon: World) -> None:
    policy = idle_policy(noon)
    window = {"day": "tuesday", "start_time": "18:00", "end_time": "06:00"}
    hourly(noon, policy, every_how_many=6, disable_times=[window])
    noon.pass_time(timedelta(days=2))
    tuesday = NOON.replace(hour=0)
    skipped = {tuesday + timedelta(hours=hours) for hours in (18, 24)}
    grid = {NOON + 6 * k * HOUR for k in range(1, 9)}
    assert run_times(policy) == sorted(grid - skipped)


def test_weekdays_skip_runs_of_days_but_not_of_weeks(noon: World) -> None:
    daily, weekly = idle_policy(noon), idle_policy(noon)
    noon.schedule(daily, every_unit="D", every_how_many=1, allow_on_thursday=False)
    noon.schedule(weekly, every_unit="W", every_how_many=1, allow_on_tuesday=False)
    noon.pass_time(timedelta(days=7, minutes=1))
    days = [NOON + timedelta(days=k) for k in range(1, 8)]
    assert run_times(daily) == [day for day in days if day.weekday() != 3]
    assert run_times(weekly) == [NOON + timedelta(days=7)]


def test_a_skipped_run_is_not_a_missed_one(noon: World) -> None:
    policy = idle_policy(noon)
    window = {"day": "all", "start_time": "13:00", "end_time": "23:00"}
    hourly(noon, policy, disable_times=[window])
    noon.move_to(NOON + 10 * HOUR + 30 * MINUTE)
    noon.work()
    assert run_times(policy) == []
    assert tick.missed_cause(policy.pk) not in open_alerts()


# --- the server's time zone ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        # The night to 31 March 2030 has no 02:30 in Berlin: it is read as 03:30.
        (
            "2030-03-29T01:30",
            ["2030-03-30T01:30", "2030-03-31T01:30", "2030-04-01T00:30"],
        ),
        # The night to 27 October 2030 has 02:30 twice: the first one counts.
        (
            "2030-10-25T00:30",
            ["2030-10-26T00:30", "2030-10-27T00:30", "2030-10-28T01:30"],
        ),
    ],
)
def test_days_keep_the_wall_clocks_time_when_clocks_change(
    noon: World, in_zone: Callable[[str], None], start: str, expected: list[str]
) -> None:
    in_zone("Europe/Berlin")
    policy = idle_policy(noon)
    noon.move_to(at(start))
    noon.schedule(policy, every_unit="D", every_how_many=1, start_at=at(start))
    noon.pass_time(timedelta(days=3, hours=2))
    assert run_times(policy) == [at(text) for text in expected]


def test_hours_do_not_care_when_clocks_change(noon: World, in_zone: Callable[[str], None]) -> None:
    in_zone("Europe/Berlin")
    policy = idle_policy(noon)
    midnight = at("2030-03-31T00:00")
    noon.move_to(midnight)
    hourly(noon, policy, start_at=midnight)
    noon.pass_time(3 * HOUR + MINUTE)
    assert run_times(policy) == [midnight + k * HOUR for k in (1, 2, 3)]


def test_windows_and_weekdays_are_those_of_the_servers_zone(
    noon: World, in_zone: Callable[[str], None]
) -> None:
    in_zone("Asia/Tokyo")  # nine hours ahead
    policy = idle_policy(noon)
    window = {"day": "wednesday", "start_time": "00:00", "end_time": "02:00"}
    hourly(noon, policy, disable_times=[window], allow_on_tuesday=False)
    noon.pass_time(6 * HOUR)
    # Until 15:00 it is Tuesday in Tokyo, until 17:00 the window is closed.
    assert run_times(policy) == [NOON + 5 * HOUR, NOON + 6 * HOUR]


# --- several schedules ---------------------------------------------------------------------------


def test_two_schedules_due_at_one_minute_make_one_run_that_names_the_lower_id(
    noon: World,
) -> None:
    policy = idle_policy(noon)
    lower = hourly(noon, policy, name="z-lower", start_at=NOON + timedelta(seconds=20))
    hourly(noon, policy, name="a-higher", every_how_many=2)
    noon.pass_time(2 * HOUR + MINUTE)
    assert run_times(policy) == [NOON + HOUR, NOON + 2 * HOUR]
    assert set(Backup.objects.values_list("schedule_name", flat=True)) == {lower.name}
    assert not open_alerts() & {tick.skipped_cause(policy.pk), tick.missed_cause(policy.pk)}


def test_schedules_due_at_different_minutes_make_a_run_each(noon: World) -> None:
    policy = idle_policy(noon)
    hourly(noon, policy)
    hourly(noon, policy, start_at=NOON + MINUTE)
    noon.pass_time(HOUR + 2 * MINUTE)
    assert run_times(policy) == [NOON + MINUTE, NOON + HOUR, NOON + HOUR + MINUTE]


def test_policies_of_one_schedule_run_each_for_themselves(noon: World) -> None:
    policies = [idle_policy(noon) for _ in range(3)]
    schedule = hourly(noon, policies[0])
    for policy in policies[1:]:
        PolicySchedule.objects.create(policy=policy, schedule=schedule)
    tick.arm_schedule(schedule.pk)
    noon.pass_time(HOUR + MINUTE)
    assert [run_times(policy) for policy in policies] == [[NOON + HOUR]] * 3


# --- while the policy still backs up -------------------------------------------------------------


def test_a_run_due_while_the_policy_backs_up_is_skipped_and_counted(noon: World) -> None:
    policy = noon.policy(volume_target(noon.volume()))
    noon.simulator.faults([{"op": ASK, "kind": "503"}])
    noon.schedule(policy, every_unit="M", every_how_many=5)
    noon.pass_time(16 * MINUTE)
    noon.simulator.faults([])
    assert run_times(policy) == [NOON + 5 * MINUTE]
    alert = Alert.objects.get(cause=tick.skipped_cause(policy.pk))
    assert (alert.count, alert.resolved_at) == (2, None)
    skipped = Event.objects.filter(code="run_skipped", backup=Backup.objects.get())
    due = [times.to_wire(NOON + minutes * MINUTE) for minutes in (10, 15)]
    assert [event.values["due"] for event in skipped.order_by("pk")] == due
    assert tick.missed_cause(policy.pk) not in open_alerts()

    noon.drain()
    last = run_times(policy)[-1]
    noon.pass_time(5 * MINUTE)
    assert run_times(policy)[-1] > last
    assert tick.skipped_cause(policy.pk) not in open_alerts()


def test_a_run_by_hand_holds_up_a_scheduled_one_likewise(noon: World) -> None:
    policy = noon.policy(volume_target(noon.volume()))
    noon.simulator.faults([{"op": ASK, "kind": "503"}])
    hourly(noon, policy)
    noon.pass_time(HOUR - MINUTE)
    tick.run_now(policy)
    noon.pass_time(2 * MINUTE)
    assert run_times(policy) == []
    assert tick.skipped_cause(policy.pk) in open_alerts()


# --- after downtime ------------------------------------------------------------------------------


def test_after_downtime_the_youngest_missed_run_takes_place_and_the_others_are_told_of(
    noon: World,
) -> None:
    policy = idle_policy(noon)
    hourly(noon, policy)
    noon.move_to(NOON + 5 * HOUR + 59 * MINUTE)
    noon.work()
    assert run_times(policy) == [NOON + 5 * HOUR]
    backup = Backup.objects.get()
    assert backup.started_at >= NOON + 5 * HOUR + 59 * MINUTE
    alert = Alert.objects.get(cause=tick.missed_cause(policy.pk))
    assert alert.message.endswith(f": 4, the first due at {times.to_wire(NOON + HOUR)}.")
    noon.pass_time(2 * MINUTE)
    assert run_times(policy)[1:] == [NOON + 6 * HOUR]
    assert tick.missed_cause(policy.pk) not in open_alerts()


def test_a_run_that_is_late_but_the_only_one_is_not_missed(noon: World) -> None:
    policy = idle_policy(noon)
    hourly(noon, policy)
    noon.move_to(NOON + HOUR + 59 * MINUTE)
    noon.work()
    assert run_times(policy) == [NOON + HOUR]
    assert tick.missed_cause(policy.pk) not in open_alerts()


def test_a_missed_run_as_old_as_its_schedules_interval_does_not_take_place(noon: World) -> None:
    policy = idle_policy(noon)
    window = {"day": "all", "start_time": "14:00", "end_time": "18:00"}
    hourly(noon, policy, disable_times=[window])
    # 13:00 was missed, the runs since were not to take place: at 14:00 the hour is over.
    noon.move_to(NOON + 2 * HOUR)
    noon.work()
    assert run_times(policy) == []
    assert tick.missed_cause(policy.pk) in open_alerts()
    noon.pass_time(5 * HOUR)
    assert run_times(policy) == [NOON + 6 * HOUR, NOON + 7 * HOUR]


def test_after_downtime_a_policy_of_several_schedules_runs_once(noon: World) -> None:
    policy = idle_policy(noon)
    hourly(noon, policy)
    quarter = noon.schedule(policy, every_unit="M", every_how_many=15)
    daily = noon.schedule(policy, every_unit="D", every_how_many=1, start_at=NOON + 2 * HOUR)
    noon.move_to(NOON + 4 * HOUR + 20 * MINUTE)
    noon.work()
    assert run_times(policy) == [NOON + 4 * HOUR + 15 * MINUTE]
    assert Backup.objects.get().schedule_name == quarter.name
    assert PolicySchedule.objects.get(schedule=daily).next_run_at == NOON + 26 * HOUR


def test_a_missed_end_of_a_schedule_is_made_up_for(noon: World) -> None:
    policy = idle_policy(noon)
    hourly(noon, policy, end_at=NOON + HOUR)
    noon.move_to(NOON + HOUR + 30 * MINUTE)
    noon.work()
    assert run_times(policy) == [NOON + HOUR]


# --- several ticks at once -----------------------------------------------------------------------


def test_ticks_at_the_same_time_make_one_record(noon: World) -> None:
    policies = [idle_policy(noon) for _ in range(5)]
    for policy in policies:
        hourly(noon, policy)
    noon.move_to(NOON + HOUR + MINUTE)
    at_once(6, lambda: [tick.look(policy.pk) for policy in policies])
    assert [run_times(policy) for policy in policies] == [[NOON + HOUR]] * 5
    assert set(PolicySchedule.objects.values_list("next_run_at", flat=True)) == {NOON + 2 * HOUR}
    assert open_alerts() == set()


def test_of_many_who_start_a_policy_by_hand_one_does(noon: World) -> None:
    policy = noon.policy(volume_target(noon.volume()))
    refused: list[Exception] = []

    def start() -> None:
        try:
            tick.run_now(policy)
        except tick.AlreadyRunning as error:
            refused.append(error)

    at_once(6, start)
    assert len(refused) == 5
    assert Backup.objects.count() == 1
