"""The work on one batch: so many problems at once, while somebody reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from cap_server.batches.item import Item
from cap_server.batches.reader import Reader


class Work(Protocol):
    async def __call__(self, index: int, *, covered: bool) -> Item:
        """Work on a problem. Whatever goes wrong is told in the item.

        Args:
            index: its place in the batch.
            covered: whether it goes under the place that the batch's request takes
                (`Turnstile.turn`); it is, for one item at a time.
        """
        ...


class Run:
    """Begins nothing before a reader is attached, and nothing more once none is.

    What is under way then comes to its end: a reader that comes back finds it among those `done`.
    `attach` and `detach` take effect before they first wait.

    Attributes:
        size: how many problems there are.
        done: those whose items are final and kept.

    Args:
        at_once: problems under way together.
        keep: stores an item before anybody is told; says whether it could.
        may_begin: asked before each problem.
    """

    def __init__(
        self,
        size: int,
        *,
        work: Work,
        at_once: int,
        keep: Callable[[Item], Awaitable[bool]] | None = None,
        may_begin: Callable[[], bool] = lambda: True,
        done: frozenset[int] = frozenset(),
    ) -> None:
        self.size = size
        self.done = set(done)
        self._work = work
        self._at_once = at_once
        self._keep = keep
        self._may_begin = may_begin
        self._reader: Reader | None = None
        self._last: Reader | None = None
        self._waiting: deque[int] = deque()
        self._under_way: set[int] = set()
        self._workers: dict[int, asyncio.Task[None]] = {}
        self._finishes = False
        self._rested = asyncio.Event()
        self._rested.set()

    async def attach(self) -> tuple[Reader, frozenset[int]]:
        """A reader of what ends from now on, and what was done before. It replaces the last one."""
        last, reader = self._last, Reader(self._at_once)
        self._reader = self._last = reader
        done = frozenset(self.done)
        busy = self.done | self._under_way
        self._waiting = deque(index for index in range(self.size) if index not in busy)
        self._rested.clear()
        self.go_on()
        if last is not None:
            last.free.set()
            await last.close()
        return reader, done

    def go_on(self) -> None:
        """Begin what waits, as far as there is room."""
        free = [slot for slot in range(self._at_once) if slot not in self._workers]
        for slot in free[: len(self._waiting)]:
            self._workers[slot] = asyncio.create_task(self._worker(slot))

    async def detach(self, reader: Reader) -> None:
        """Tell `reader` no more; begin nothing more if it was the one that was attached."""
        if self._reader is reader:
            self._reader = None
            self._waiting.clear()
            self._rest()
        await reader.close()

    async def finish(self) -> None:
        """Begin nothing more, and end the reader once it was told what is under way."""
        self._waiting.clear()
        self._finishes = True
        await self._end()

    async def halt(self) -> None:
        """Begin nothing more, and end the reader."""
        if self._reader is not None:
            await self.detach(self._reader)

    async def stop(self) -> None:
        """Cancel what is under way, and wait for its end."""
        await self.halt()
        workers = list(self._workers.values())
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def resting(self) -> None:
        """Return when nobody reads and nothing is under way."""
        await self._rested.wait()

    def rests(self) -> bool:
        return self._rested.is_set()

    async def _end(self) -> None:
        if self._finishes and not self._workers and self._reader is not None:
            await self._reader.end()

    def _rest(self) -> None:
        if self._reader is None and not self._workers:
            self._rested.set()
            if self._last is not None:
                self._last.free.set()

    async def _worker(self, slot: int) -> None:
        try:
            while self._waiting and self._may_begin():
                await self._next(covered=slot == 0)
        finally:
            del self._workers[slot]
            self._rest()
        await self._end()

    async def _next(self, *, covered: bool) -> None:
        index = self._waiting.popleft()
        self._under_way.add(index)
        try:
            item = await self._work(index, covered=covered)
            kept = item.final and (self._keep is None or await self._keep(item))
        finally:
            self._under_way.discard(index)
        # No wait between these: a reader that is attached later finds the item among those that
        # were done before, and only there.
        if kept:
            self.done.add(index)
        if self._reader is not None:
            await self._reader.offer(item)
