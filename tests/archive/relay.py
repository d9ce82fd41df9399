"""A relay before the emulated AWS that spoils answers on their way, where no fault of AWS's can."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

# So far into an answer it is in the middle of a block or a pack.
_MIDDLE_BYTES = 100_000


@dataclass
class Relay:
    """A running one. Each of `plans`, `cut` or `flip`, is carried out once, on a large answer."""

    endpoint: str
    plans: list[str] = field(default_factory=list)


@contextmanager
def relay(target: str) -> Iterator[Relay]:
    """One before a server, for as long as the context lasts."""
    listening = socket.create_server(("127.0.0.1", 0))
    running = Relay(f"http://127.0.0.1:{listening.getsockname()[1]}")
    open_sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def begin(work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        threads.append(thread)
        thread.start()

    def accept() -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            address = urlsplit(target)
            far = socket.create_connection((address.hostname or "", address.port or 80))
            open_sockets.extend((near, far))
            asked = threading.Event()
            begin(_forth, near, far, asked)
            begin(_back, far, near, asked, running.plans)

    begin(accept)
    try:
        yield running
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for each in open_sockets:
            _end(each)
        for thread in threads:
            thread.join()
        for each in open_sockets:
            each.close()


def _forth(near: socket.socket, far: socket.socket, asked: threading.Event) -> None:
    with suppress(OSError):
        while chunk := near.recv(65_536):
            asked.set()
            far.sendall(chunk)
    _end(far)


def _back(
    far: socket.socket, near: socket.socket, asked: threading.Event, plans: list[str]
) -> None:
    passed = 0
    with suppress(OSError):
        while chunk := far.recv(65_536):
            if asked.is_set():
                asked.clear()
                passed = 0
            passed += len(chunk)
            if passed > _MIDDLE_BYTES and plans:
                if plans.pop() == "cut":
                    break
                chunk = bytes([chunk[0] ^ 1]) + chunk[1:]
            near.sendall(chunk)
    _end(near)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
