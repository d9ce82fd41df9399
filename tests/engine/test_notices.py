"""Of each cause a channel hears once that it is there, and once that it is gone; no storms."""

import pytest

from cpm.engine import alerts, cleanup, removal
from cpm.models.alerts import Alert, AlertCategory
from cpm.models.notifications import Delivery, Notice
from cpm.models.users import User, UserKind
from tests.engine.notifying import (
    ERROR,
    INFO,
    WARNING,
    after,
    make_user,
    raise_one,
    webhook,
    work,
)
from tests.receivers import Receiver


@pytest.fixture
def user(told: Receiver) -> User:
    return make_user()


def test_what_is_raised_and_resolved_is_told_once_each(told: Receiver, user: User) -> None:
    webhook(user, told)
    for _ in range(3):
        raise_one(user)
        after(minutes=1)
    assert told.events == [[("raised", "x")]]
    alerts.resolve("x")
    after(minutes=9)
    assert told.events == [[("raised", "x")]]
    after(minutes=2)
    assert told.events == [[("raised", "x")], [("resolved", "x")]]
    after(days=3)
    assert len(told.posted) == 2
    ended = told.posted[1].json["alerts"][0]
    assert ended["occurrences"] == 3
    assert ended["resolved_time"] > ended["alert_time"]


def test_a_cause_that_comes_and_goes_is_one_alert_and_one_message(
    told: Receiver, user: User
) -> None:
    webhook(user, told)
    for _ in range(6):
        raise_one(user)
        after(minutes=2)
        alerts.resolve("x")
        after(minutes=5)
    assert told.events == [[("raised", "x")]]
    assert Alert.objects.get().count == 6
    after(minutes=10)
    assert told.events[1:] == [[("resolved", "x")]]
    raise_one(user)
    after(minutes=1)
    assert told.events[2:] == [[("raised", "x")]]
    assert Alert.objects.count() == 2


def test_what_is_gone_within_moments_is_not_told(told: Receiver, user: User) -> None:
    webhook(user, told)
    raise_one(user)
    alerts.resolve("x")
    after(hours=1)
    assert told.posted == []
    assert not Notice.objects.exclude(due_at=None).exists()


def test_many_alerts_at_a_time_are_few_messages(told: Receiver, user: User) -> None:
    webhook(user, told)
    for number in range(30):
        raise_one(user, f"cause {number}")
    after(minutes=1)
    after(minutes=1)
    assert [len(message) for message in told.events] == [25, 5]


def test_channels_hear_of_what_they_want_to_know(told: Receiver, user: User) -> None:
    webhook(user, told, "all", least_severity=INFO)
    webhook(user, told, "errors of DR", least_severity=ERROR, categories=["DR", "Cleanup"])
    webhook(user, told, "off", enabled=False)
    webhook(make_user("stan"), told, "stranger")
    raise_one(user, "info", INFO)
    raise_one(user, "warning", WARNING, AlertCategory.DR)
    raise_one(user, "error", ERROR)
    raise_one(user, "error of DR", ERROR, AlertCategory.DR)
    after(minutes=1)
    heard = {each.json["channel"]: each.json["alerts"] for each in told.posted}
    assert {name: [each["title"] for each in heard[name]] for name in heard} == {
        "all": ["info", "warning", "error", "error of DR"],
        "errors of DR": ["error of DR"],
    }


def test_an_alert_that_gets_worse_is_told_again_and_one_that_gets_better_is_not(
    told: Receiver, user: User
) -> None:
    webhook(user, told)
    for severity in (WARNING, ERROR, WARNING, ERROR):
        raise_one(user, severity=severity)
        after(minutes=1)
    assert Alert.objects.get().title == "x"
    severities = [each.json["alerts"][0]["severity"] for each in told.posted]
    assert severities == ["Warning", "Error"]


def test_the_servers_own_alerts_are_told_to_root(told: Receiver, user: User) -> None:
    webhook(user, told, "managed")
    webhook(make_user("root", UserKind.ROOT), told, "roots")
    raise_one(None, "disk")
    after(minutes=1)
    assert [each.json["channel"] for each in told.posted] == ["roots"]


def test_nobody_who_is_gone_is_told(told: Receiver, user: User) -> None:
    webhook(user, told)
    raise_one(user)
    removal.begin(user)
    work()
    after(hours=1)
    assert told.posted == []
    assert not Delivery.objects.exists()


def test_what_was_told_is_forgotten_in_time_and_what_is_open_is_not(
    told: Receiver, user: User
) -> None:
    webhook(user, told)
    raise_one(user, "open")
    raise_one(user, "over")
    after(minutes=1)
    alerts.resolve("over")
    after(days=29)
    cleanup.run()
    assert Delivery.objects.count() == 2
    after(days=62)
    cleanup.run()
    assert not Delivery.objects.exists()
    assert list(Alert.objects.values_list("title", flat=True)) == ["open"]
