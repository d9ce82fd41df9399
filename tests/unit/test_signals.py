"""A process that is told to stop stops, whatever it is at just then."""

import subprocess
import sys

from tests.cli.commands import START_SECONDS

TOLD_AT_THE_WORST_TIME = """
import os, signal, threading
from cpm.kernel.signals import stop_signals

lock, stop = threading.Lock(), threading.Event()

def ask_to_stop():
    with lock:
        stop.set()

for number in (signal.SIGTERM, signal.SIGINT):
    stop.clear()
    with stop_signals(ask_to_stop):
        with lock:
            os.kill(os.getpid(), number)
        stop.wait()
"""


def test_a_signal_may_come_while_the_main_thread_holds_what_stopping_needs() -> None:
    command = [sys.executable, "-c", TOLD_AT_THE_WORST_TIME]
    done = subprocess.run(command, check=False, capture_output=True, timeout=START_SECONDS)
    assert done.returncode == 0, done.stderr
