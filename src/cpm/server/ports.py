"""Whether the web server may listen where it should, before it tries."""

import errno
import socket


class PortRefused(Exception):
    """The port cannot be bound; the message says why and what to do."""


def claim(host: str, port: int) -> int:
    """Checks that `port` can be bound on `host` and returns it; 0 gives one that is free.

    The web server shares its port among its workers, so a second server on the same port would
    start without a word and take half of the requests. This asks for the port alone.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections of a server that has just stopped linger; they must not keep the next out.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortRefused(_explain(host, port, error)) from error
        return int(probe.getsockname()[1])


def _explain(host: str, port: int, error: OSError) -> str:
    where = f"{host}:{port}"
    if error.errno == errno.EACCES:
        return (
            f"Not allowed to listen on {where}: ports below 1024 are for root. Use --port 8443, "
            "or allow it once with: sudo setcap cap_net_bind_service=+ep $(readlink -f "
            "$(command -v python3))"
        )
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program. Stop it, or choose another with --port."
    return f"Cannot listen on {where}: {error.strerror}"
