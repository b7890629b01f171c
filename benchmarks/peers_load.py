"""Requests sent so many at a time, and how long each took.

A client of its own: it adds some hundred microseconds, where a full one adds milliseconds that vary
more than what is measured.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ask:
    """Attributes: path: below `/`; body: sent as JSON, None to GET."""

    path: str
    body: dict[str, Any] | None = None


@dataclass(frozen=True)
class Got:
    status: int
    headers: dict[str, str]
    content: bytes


@dataclass
class Taken:
    """What many requests took.

    Attributes:
        wall_s: that those who sent them were at it, on average.
        failed: by status; 0: the server broke off.
        cpu_s: that the server's process used; whoever sends the requests fills it in.
    """

    seconds: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    failed: dict[int, int] = field(default_factory=dict)
    cpu_s: float = 0.0

    def add(self, other: Taken) -> None:
        self.seconds += other.seconds
        self.wall_s += other.wall_s
        self.cpu_s += other.cpu_s
        for status, count in other.failed.items():
            self.failed[status] = self.failed.get(status, 0) + count

    def percentile(self, share: float) -> float:
        """In seconds; the smallest value that at least `share` of all do not exceed."""
        ordered = sorted(self.seconds)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan

    @property
    def per_s(self) -> float:
        return len(self.seconds) / self.wall_s if self.wall_s else math.nan


class Connection:
    """To a server on this machine, kept open where the server keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, ask: Ask) -> Got:
        """The whole answer.

        Raises:
            OSError: the server cannot be reached.
            asyncio.IncompleteReadError: it broke off.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(_request(ask))
        head = await reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (each.partition(":") for each in lines)
        }
        content = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close" or status_line.startswith("HTTP/1.0"):
            self.close()
        return Got(int(status_line.split()[1]), headers, content)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def ask(port: int, request: Ask) -> Got:
    """One request on a connection of its own."""
    connection = Connection(port)
    try:
        return await connection.ask(request)
    finally:
        connection.close()


async def load(port: int, asks: Sequence[Ask], *, at_once: int, spread_s: float = 0.0) -> Taken:
    """Send `asks`, `at_once` at a time, each as soon as there is a place.

    Where all start together and all answers take equally long, they come together ever after; so
    the first ones start one after the other within `spread_s`.
    """
    taken, waiting = Taken(), list(asks)

    async def work(number: int) -> None:
        await asyncio.sleep(spread_s * number / at_once)
        connection, started = Connection(port), time.perf_counter()
        while waiting:
            request, begun = waiting.pop(), time.perf_counter()
            status = 0
            with suppress(OSError, asyncio.IncompleteReadError):
                status = (await connection.ask(request)).status
            if status == 200:
                taken.seconds.append(time.perf_counter() - begun)
            else:
                taken.failed[status] = taken.failed.get(status, 0) + 1
                connection.close()
        connection.close()
        taken.wall_s += (time.perf_counter() - started) / at_once

    await asyncio.gather(*map(work, range(at_once)))
    return taken


def _request(ask: Ask) -> bytes:
    content = b"" if ask.body is None else json.dumps(ask.body).encode()
    method = "GET" if ask.body is None else "POST"
    head = (
        f"{method} {ask.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
