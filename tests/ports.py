"""Ports: for servers that a test starts as processes, and for those that it runs itself."""

from __future__ import annotations

import random
import socket

# Below what any kernel gives out by itself: no client's connection takes it in the meantime.
_PORTS = range(15_000, 30_000)


def free_port() -> int:
    """Return a port that nobody has, and that nobody gets who does not ask for it by number."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


def listening_socket() -> socket.socket:
    """A socket of this machine that listens, for a server in this process.

    It names its protocol, which `socket.create_server` does not: asyncio switches Nagle's delay off
    for those alone, and answers would otherwise come 40 ms late.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener
