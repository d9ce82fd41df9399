"""A database that is away is told of at once, then once a minute, and when it is back."""

import pytest
from django.db import OperationalError
from structlog.testing import capture_logs

from cpm.engine.outages import Outage
from cpm.kernel import clock

AWAY = OperationalError("connection refused\n\tIs the server running?")


def test_an_outage_is_told_at_once_then_once_a_minute_and_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: seconds)
    outage = Outage()
    with capture_logs() as log:
        outage.is_over()
        for _ in range(130):
            outage.goes_on(AWAY)
            seconds += 1.0
        outage.is_over()
        outage.is_over()
    told = [(each["event"], each.get("for_seconds", each.get("after_seconds"))) for each in log]
    assert told == [
        ("worker.database_away", 0),
        ("worker.database_away", 60),
        ("worker.database_away", 120),
        ("worker.database_back", 130),
    ]
    assert log[0]["reason"] == "connection refused Is the server running?"


def test_each_outage_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.0)
    outage = Outage()
    with capture_logs() as log:
        for _ in range(2):
            outage.goes_on(AWAY)
            outage.is_over()
    assert [each["event"] for each in log] == ["worker.database_away", "worker.database_back"] * 2
