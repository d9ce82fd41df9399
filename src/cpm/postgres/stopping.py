"""What asks a supervisor to stop: signals, and the end of the process that wanted the server."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequests:
    """Counts the requests to stop, and waits for them without polling.

    lifeline: a descriptor whose end of file means that nobody wants the server any more.
    """

    def __init__(self, lifeline: int | None) -> None:
        self.count = 0
        self._lifeline = lifeline
        self._wakeup = -1

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals for the length of a block; only the main thread can."""
        self._wakeup, write_end = os.pipe()
        os.set_blocking(write_end, False)
        previous_wakeup = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        previous = {number: signal.signal(number, self._ask) for number in _STOP_SIGNALS}
        previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _only_wake)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_wakeup)
            os.close(write_end)
            os.close(self._wakeup)

    def wait(self, seconds: float) -> None:
        """Sleep until a signal comes, a child ends, the lifeline ends, or the time is up."""
        watched = [self._wakeup]
        if self._lifeline is not None:
            watched.append(self._lifeline)
        readable, _, _ = select.select(watched, [], [], seconds)
        if self._wakeup in readable:
            os.read(self._wakeup, 1024)
        if self._lifeline in readable and self._is_at_end(self._lifeline):
            self._lifeline = None
            self.count = max(self.count, 1)

    def _is_at_end(self, descriptor: int | None) -> bool:
        return descriptor is not None and not os.read(descriptor, 1024)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


def _only_wake(_number: int, _frame: FrameType | None) -> None:
    """A child ended; the wake-up descriptor has the news."""
