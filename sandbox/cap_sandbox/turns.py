"""Who runs next: so many programs at once, of so much memory together, fairly between requests."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cap_sandbox.errors import QueueFullError


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    memory_bytes: int
    admitted: asyncio.Future[None]


class Turns:
    """Lets programs run, one of each request in turn; a request's own in the order they came.

    The next in turn waits until there is memory for it, and all others behind it: no program waits
    for ever because smaller ones pass it by.

    Args:
        workers: how many run at once.
        memory_bytes: what all that run may use together.
        max_waiting: how many may wait; the next is refused.

    Attributes:
        running: how many have their turn now.
    """

    def __init__(self, *, workers: int, memory_bytes: int, max_waiting: int) -> None:
        self.running = 0
        self._workers = workers
        self._memory_bytes = memory_bytes
        self._max_waiting = max_waiting
        self._waiting = 0
        # Requests in the order of their turns, each with its programs.
        self._queues: OrderedDict[Hashable, deque[_Waiter]] = OrderedDict()

    @property
    def waiting(self) -> int:
        return self._waiting

    @asynccontextmanager
    async def turn(self, client: Hashable, *, memory_bytes: int) -> AsyncIterator[None]:
        """Wait for a turn of `client`, the request that a program belongs to, and hold it.

        Args:
            client: any value; programs with the same one share their turns.
            memory_bytes: of the program, no more than all may use together.

        Raises:
            QueueFullError: too many wait already.
        """
        await self._take(client, memory_bytes)
        try:
            yield
        finally:
            self._give_back(memory_bytes)

    async def _take(self, client: Hashable, memory_bytes: int) -> None:
        waiter = _Waiter(memory_bytes, asyncio.get_running_loop().create_future())
        self._queues.setdefault(client, deque()).append(waiter)
        self._waiting += 1
        self._admit()
        if not waiter.admitted.done() and self._waiting > self._max_waiting:
            self._leave(client, waiter)
            raise QueueFullError(self._waiting)
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            if waiter.admitted.cancelled():
                self._leave(client, waiter)
                self._admit()
            else:
                self._give_back(memory_bytes)
            raise

    def _leave(self, client: Hashable, waiter: _Waiter) -> None:
        queue = self._queues.get(client, deque())
        if waiter not in queue:
            # Passed over already, by someone who gave back between the cancellation and this.
            return
        self._waiting -= 1
        queue.remove(waiter)
        if not queue:
            del self._queues[client]

    def _give_back(self, memory_bytes: int) -> None:
        self._workers += 1
        self.running -= 1
        self._memory_bytes += memory_bytes
        self._admit()

    def _admit(self) -> None:
        while self._queues and self._workers:
            client, queue = next(iter(self._queues.items()))
            if queue[0].memory_bytes > self._memory_bytes:
                return
            waiter = queue.popleft()
            self._waiting -= 1
            self._queues.move_to_end(client)
            if not queue:
                del self._queues[client]
            if not waiter.admitted.cancelled():
                self._workers -= 1
                self.running += 1
                self._memory_bytes -= waiter.memory_bytes
                waiter.admitted.set_result(None)
