"""Ports of the loopback interface: finding a free one, and seeing whether one is answered."""

import random
import socket


def free_port() -> int:
    """A port that nobody listens on, and that stays free while its server is down.

    Below the range of outgoing connections: one of those could take the port of a dead server, and
    a client that keeps trying to reach a port in that range can end up connected to itself.
    """
    while True:
        port = random.randint(20000, 32000)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen on it now."""
    with socket.socket() as listener:
        # As servers do it; else connections that have just ended keep the port for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return not accepts_connections(port)


def accepts_connections(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0
