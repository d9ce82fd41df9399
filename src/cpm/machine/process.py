"""The processes of a worker machine: one for each stream, since each keeps a processor busy."""

import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from cpm.kernel.signals import stop_signals
from cpm.machine.server import Dismissed, Refused, Server, ServerAway
from cpm.machine.work import Stream

log = structlog.get_logger(__name__)

DONE, FAILED = 0, 1


@dataclass(frozen=True)
class Options:
    """Where the server is, and how much to do at once; `connections` are of all streams."""

    server: str
    token_file: Path
    ca_cert: Path | None = None
    concurrency: int = 1
    connections: int = 8


def run(options: Options) -> int:
    """Work until the server dismisses the machine or somebody stops it; the exit status."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    return _streams(options) if options.concurrency > 1 else _stream(options)


def _stream(options: Options) -> int:
    stop = threading.Event()
    token = options.token_file.read_text().strip()
    server = Server(options.server, token, options.ca_cert)
    with stop_signals(stop.set):
        try:
            Stream(server, connections=options.connections, stop=stop).run()
        except Dismissed:
            log.info("machine.dismissed")
        except (ServerAway, Refused) as end:
            log.warning("machine.gives_up", reason=f"{type(end).__name__}: {end}")
            return FAILED
    return DONE


def _streams(options: Options) -> int:
    """A process for each; what stops this one stops them."""
    each = replace(
        options,
        concurrency=1,
        connections=max(1, options.connections // options.concurrency),
    )
    children = [
        subprocess.Popen(_command(each))  # noqa: S603 - our own command line
        for _ in range(options.concurrency)
    ]
    stop = threading.Event()
    with stop_signals(stop.set):
        while any(child.poll() is None for child in children):
            if stop.wait(1.0):
                for child in children:
                    child.terminate()
    return max(child.wait() for child in children)


def _command(options: Options) -> list[str]:
    command = [sys.executable, "-P", "-m", "cpm.machine", "--server", options.server]
    command += ["--token-file", str(options.token_file)]
    command += ["--connections", str(options.connections)]
    return command + (["--ca-cert", str(options.ca_cert)] if options.ca_cert else [])
