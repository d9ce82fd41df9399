"""A port that cannot be had is found out before the web server starts, with a hint."""

import socket

import pytest

from cpm.server import ports


def test_a_free_port_is_found_for_zero() -> None:
    assert ports.claim("127.0.0.1", 0) > 0


def test_a_port_that_another_server_shares_is_refused_with_a_hint() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ports.PortRefused, match=r"in use by another program.*--port"):
            ports.claim("127.0.0.1", other.getsockname()[1])
