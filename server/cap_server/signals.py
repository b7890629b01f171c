"""Signals that end the process: the first kindly, the second at once, the third by the kernel."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_BOTH = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Attributes:
    stopped: set by the first signal.
    hurried: set by the second.
    announced: whether the first was SIGTERM: a machine's, whose others are to hear of it.
    """

    def __init__(self) -> None:
        self.stopped = asyncio.Event()
        self.hurried = asyncio.Event()
        self.announced = False

    def heard(self, number: signal.Signals) -> None:
        if not self.stopped.is_set():
            self.announced = number == signal.SIGTERM
            self.stopped.set()
            return
        self.hurried.set()
        _remove()
        # Whatever hangs now, the next one ends the process, and with it what it started.
        for each in _BOTH:
            signal.signal(each, signal.SIG_DFL)


@asynccontextmanager
async def listening() -> AsyncIterator[Signals]:
    """What SIGINT and SIGTERM say, until the context ends."""
    loop, heard = asyncio.get_running_loop(), Signals()
    for each in _BOTH:
        loop.add_signal_handler(each, heard.heard, each)
    try:
        yield heard
    finally:
        _remove()


def _remove() -> None:
    for each in _BOTH:
        asyncio.get_running_loop().remove_signal_handler(each)
