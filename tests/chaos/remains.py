"""What servers leave behind when they have ended, and what their logs tell of their own faults."""

from __future__ import annotations

import asyncio

from tests.chaos.place import Place
from tests.processes import alive


async def left_behind(place: Place) -> list[str]:
    """Processes of servers that have ended."""
    gone = [each for each in place.replicas if each.running.process.poll() is not None]
    return [
        f"{len(left)} processes outlived their server"
        for each in gone
        if (left := await asyncio.to_thread(alive, each.running.started, within_s=30))
    ]


def tracebacks(place: Place) -> int:
    """How many lines of the servers' logs tell of a fault of their own."""
    marks = (b"Traceback", b'"event": "fault"', b"Exception in")
    logs = [replica.folder / "server.log" for replica in place.replicas]
    return sum(log.read_bytes().count(mark) for log in logs for mark in marks)
