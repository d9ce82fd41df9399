"""Being told to stop."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals(ask_to_stop: Callable[[], None]) -> Iterator[None]:
    """Turns SIGTERM and SIGINT into a call of `ask_to_stop` for as long as the block runs.

    It is called in a thread of its own. Python handles signals in the main thread, between any two
    of its steps: it may hold just then what the call needs, such as the lock of an event.
    """
    told, tell = os.pipe()

    def handle(_number: int, _frame: FrameType | None) -> None:
        os.write(tell, b".")

    listener = threading.Thread(target=_listen, args=(told, ask_to_stop), name="signals")
    listener.start()
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(tell)
        listener.join()
        os.close(told)


def _listen(told: int, ask_to_stop: Callable[[], None]) -> None:
    while os.read(told, 1):
        ask_to_stop()
