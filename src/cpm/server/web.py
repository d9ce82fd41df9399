"""The web server process: the API and the console over TLS."""

from dataclasses import dataclass
from pathlib import Path

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

TARGET = "cpm.config.wsgi:application"
# How long a stopping worker waits for slow clients, in seconds.
KILL_TIMEOUT_SECONDS = 20
# The web server's own lines go where all others go.
_LOGGING = {"handlers": {}, "formatters": {}, "loggers": {"_granian": {"propagate": True}}}


@dataclass(frozen=True)
class Listener:
    """Where and how the web server listens."""

    host: str
    port: int
    certificate: Path
    private_key: Path
    workers: int
    threads: int


def serve(listener: Listener) -> None:
    """Serves until SIGTERM; SIGHUP makes it read the certificate again."""
    Server(
        TARGET,
        address=listener.host,
        port=listener.port,
        interface=Interfaces.WSGI,
        workers=listener.workers,
        blocking_threads=listener.threads,
        http=HTTPModes.auto,
        http1_settings=HTTP1Settings(header_read_timeout=30_000),
        websockets=False,
        backpressure=listener.threads * 8,
        log_access=False,
        log_level=LogLevels.error,
        log_dictconfig=_LOGGING,
        ssl_cert=listener.certificate,
        ssl_key=listener.private_key,
        # Scripts of old clients still speak 1.2; nothing older is accepted.
        ssl_protocol_min=SSLProtocols.tls12,
        respawn_failed_workers=True,
        respawn_interval=1.0,
        workers_kill_timeout=KILL_TIMEOUT_SECONDS,
    ).serve()
