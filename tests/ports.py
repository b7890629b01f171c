"""A port for a server that a test starts as a process of its own, and so cannot bind itself."""

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
