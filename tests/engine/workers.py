"""Workers with processes of their own, beside the test."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cpm.simulator.process import Simulator


@contextmanager
def worker_process(
    simulator: Simulator, database_url: str, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with a process of its own."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "CPM_AWS_ENDPOINT": simulator.endpoint,
        "CPM_LOG_LEVEL": "ERROR",
        **more,
    }
    command = [sys.executable, "-m", "cpm", "worker"]
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
