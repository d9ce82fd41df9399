"""Once a day, at an hour of his own clock, a user is told how things stand."""

from datetime import UTC, datetime, timedelta

import pytest

from cpm.engine import summaries
from cpm.kernel import clock
from cpm.models.backups import Backup, BackupOutcome, BackupPhase, Trigger
from cpm.models.users import User
from tests.engine.notifying import after, make_user, raise_one, webhook
from tests.receivers import Receiver


@pytest.fixture
def user(told: Receiver) -> User:
    """It is noon in UTC, and he is told at 8 in the morning in Tokyo, at 23 in UTC."""
    move_to(datetime(2027, 1, 10, 12, tzinfo=UTC))
    user = make_user()
    user.summary_enabled, user.summary_time_zone = True, "Asia/Tokyo"
    user.summary_due_at = summaries.next_time(user.summary_hour, user.summary_time_zone)
    user.save()
    return user


def move_to(moment: datetime) -> None:
    clock.set_offset(clock._offset + (moment - clock.now()))


def closed(user: User, outcome: BackupOutcome, ago: timedelta) -> None:
    Backup.objects.create(
        user=user,
        account_name="prod",
        policy_name="nightly",
        trigger=Trigger.MANUAL,
        phase=BackupPhase.CLOSED,
        outcome=outcome,
        started_at=clock.now() - ago,
        finished_at=clock.now() - ago,
    )


def test_a_summary_comes_at_its_hour_once_a_day_and_counts_what_was(
    told: Receiver, user: User
) -> None:
    webhook(user, told)
    webhook(user, told, "quiet", daily_summary=False)
    after(hours=10)
    assert told.posted == []
    closed(user, BackupOutcome.SUCCEEDED, timedelta(hours=1))
    closed(user, BackupOutcome.SUCCEEDED, timedelta(hours=2))
    closed(user, BackupOutcome.FAILED, timedelta(hours=3))
    closed(user, BackupOutcome.FAILED, timedelta(days=2))
    raise_one(user)
    after(hours=1, minutes=1)
    (summary,) = (each.json for each in told.posted if each.json["kind"] == "summary")
    assert summary["channel"] == "pager"
    assert summary["counts"]["backups"] == {"successful": 2, "failed": 1}
    assert summary["open_alerts"] == 1
    assert [each["title"] for each in summary["alerts"]] == ["x"]
    told.posted.clear()
    after(hours=23)
    assert told.posted == []
    after(hours=1)
    assert [each.json["kind"] for each in told.posted] == ["summary"]


def test_after_a_pause_there_is_one_summary_for_all_that_was_missed(
    told: Receiver, user: User
) -> None:
    webhook(user, told)
    after(days=5)
    assert [each.json["kind"] for each in told.posted] == ["summary"]
    user.refresh_from_db()
    assert user.summary_due_at == datetime(2027, 1, 15, 23, tzinfo=UTC)


def test_the_hour_is_kept_when_clocks_change(told: Receiver) -> None:
    move_to(datetime(2027, 3, 27, 12, tzinfo=UTC))  # summer time begins in the night after this
    assert summaries.next_time(8, "Europe/Berlin") == datetime(2027, 3, 28, 6, tzinfo=UTC)
    move_to(datetime(2027, 3, 26, 12, tzinfo=UTC))
    assert summaries.next_time(8, "Europe/Berlin") == datetime(2027, 3, 27, 7, tzinfo=UTC)
    assert summaries.next_time(13, "") == datetime(2027, 3, 26, 13, tzinfo=UTC)
    assert summaries.next_time(12, "UTC") == datetime(2027, 3, 27, 12, tzinfo=UTC)
