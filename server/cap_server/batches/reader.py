"""What one connection is told of a run; a slow one holds up the run, and not memory."""

from __future__ import annotations

import asyncio
from collections import deque

from cap_server.batches.item import Item


class Reader:
    """Attributes:
    free: set once nothing that this reader had begun is left to it: all has ended, or another
        reader has taken over.

    Args:
        most: items that wait here before `offer` waits for room.
    """

    def __init__(self, most: int) -> None:
        self.free = asyncio.Event()
        self._items: deque[Item] = deque()
        self._most = most
        self._closed = False
        self._ended = False
        self._changed = asyncio.Condition()

    async def offer(self, item: Item) -> None:
        """Tell of `item`, once there is room; a closed reader is told nothing."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._items) < self._most)
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()

    async def next(self) -> Item | None:
        """Wait for an item; None: the reader was closed, or there are no more."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended or len(self._items) > 0)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    async def end(self) -> None:
        """Tell what waits, and then that there are no more."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def close(self) -> None:
        """Tell no more, and let go whoever waits."""
        async with self._changed:
            self._closed = self._ended = True
            self._items.clear()
            self._changed.notify_all()
