"""Keeps a set of children running until asked to stop."""

import threading
from collections.abc import Callable

from cpm.kernel import clock
from cpm.server.children import Child

# Web requests and jobs in hand get this long to finish; jobs that do not are taken up later.
GRACE_SECONDS = 30.0
LOOK_SECONDS = 0.2
UPKEEP_SECONDS = 3600.0


class Supervisor:
    """Runs children and looks after them."""

    def __init__(self, *, look: Callable[[], None], upkeep: Callable[[], None]) -> None:
        """`look` is called several times a second while the children run, `upkeep` hourly."""
        self.children: list[Child] = []
        self._look = look
        self._upkeep = upkeep
        self._stop = threading.Event()

    def start(self) -> None:
        """Starts every child, in order."""
        for child in self.children:
            child.start()

    def run(self) -> None:
        """Looks after the children until `ask_to_stop`."""
        next_upkeep = clock.monotonic() + UPKEEP_SECONDS
        while not self._stop.wait(LOOK_SECONDS):
            self._look()
            for child in self.children:
                child.keep_alive()
            if clock.monotonic() >= next_upkeep:
                next_upkeep = clock.monotonic() + UPKEEP_SECONDS
                self._upkeep()

    def ask_to_stop(self) -> None:
        """Ends `run` soon; callable from a signal handler and from any thread."""
        self._stop.set()

    @property
    def is_stopping(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stop.is_set()

    def stop_children(self) -> None:
        """SIGTERM to all, then a grace period for all together, then SIGKILL."""
        deadline = clock.monotonic() + GRACE_SECONDS
        for child in self.children:
            child.ask_to_stop()
        for child in self.children:
            child.wait(deadline)
