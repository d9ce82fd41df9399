"""What processes count arrives in the database."""

import threading

import pytest
from django.db import DatabaseError, connection

from cpm.engine import metrics, worker
from cpm.engine.queue import Pace
from cpm.kernel import clock, counters
from cpm.models.metrics import Metric

SWEPT = "cpm_last_sweep_timestamp_seconds"


def value(series: str) -> float:
    return sum(Metric.objects.filter(series=series).values_list("value", flat=True))


def test_a_worker_tells_when_it_last_looked_for_what_is_due(database: None) -> None:
    began = clock.now().timestamp()
    stop = threading.Event()
    running = threading.Thread(target=worker._sweep_until, args=(stop, Pace()))
    running.start()
    try:
        assert clock.wait_until(lambda: value(SWEPT) >= began, timeout_seconds=60)
    finally:
        stop.set()
        running.join()


def test_what_could_not_be_kept_is_kept_the_next_time(database: None) -> None:
    metrics.flush()
    counters.count("tried")
    counters.mark("reached", 5)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cpm_metric RENAME TO cpm_elsewhere")
    with pytest.raises(DatabaseError):
        metrics.flush()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cpm_elsewhere RENAME TO cpm_metric")
    counters.count("tried")
    counters.mark("reached", 4)
    metrics.flush()
    assert (value("tried"), value("reached")) == (2, 5)
