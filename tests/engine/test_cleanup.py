"""Cleanup forgets what nobody needs any longer."""

from datetime import timedelta

from cpm.engine import cleanup
from cpm.kernel import clock
from cpm.models.events import Event, Stream
from cpm.models.users import BadAttempt
from tests.engine.world import World


def _attempt(subject: str, age: timedelta) -> None:
    BadAttempt.objects.create(
        scope="token", subject=subject, window_started_at=clock.now() - age, count=3
    )


def test_attempts_of_windows_long_past_are_forgotten(world: World) -> None:
    _attempt("10.0.0.1", timedelta(days=2))
    _attempt("10.0.0.2", timedelta(seconds=5))
    cleanup.run()
    assert list(BadAttempt.objects.values_list("subject", flat=True)) == ["10.0.0.2"]


def test_its_log_says_when_it_began_and_what_it_did(world: World) -> None:
    cleanup.run()
    codes = (
        Event.objects.filter(stream=Stream.CLEANUP).order_by("pk").values_list("code", flat=True)
    )
    assert list(codes) == ["cleanup_started", "cleanup_finished"]
