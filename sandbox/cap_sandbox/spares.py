"""Processes that wait for a program, forked ahead of need: some of each kind."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence

from cap_sandbox.child import Child, LostError
from cap_sandbox.errors import PoolError
from cap_sandbox.figures import Tally
from cap_sandbox.kinds import Kind
from cap_sandbox.warm import WarmProcess

_RETRY_S = 0.05
# How many programs the guess goes by of which kind is needed next, for each that runs at once.
_REMEMBERED = 4


class Spares:
    """Spare processes of one kind.

    Args:
        kind: of the warm processes.
        zygotes: that fork them.
        most: how many are kept ready at the most.
        tally: counts those that became ready.
    """

    def __init__(
        self, kind: Kind, zygotes: Sequence[WarmProcess], *, most: int, tally: Tally
    ) -> None:
        self._tally = tally
        self.kind: Kind = kind
        self._zygotes = tuple(zygotes)
        self._most = most
        self._waiting: list[asyncio.Task[Child]] = []
        self._recent: deque[bool] = deque(maxlen=_REMEMBERED * most)
        self._takers = 0
        self._turn = 0
        self._open = True

    def note(self, kind: Kind) -> None:
        """Take note of the kind that a program needed; as many are kept ready as that suggests."""
        self._recent.append(kind == self.kind)

    def refill(self) -> None:
        """Have as many on their way as are wanted, or likely to be."""
        share = sum(self._recent) / len(self._recent) if self._recent else 1
        wanted = max(1, self._takers, round(self._most * share))
        while self._open and len(self._waiting) < wanted:
            self._waiting.append(asyncio.create_task(self._spawn()))

    async def take(self) -> Child | None:
        """Return a process that is ready; None if the one that seemed so was lost.

        Raises:
            PoolError: the pool is closed.
        """
        self._takers += 1
        try:
            self.refill()
            if not self._waiting:
                raise PoolError("the pool is closed")
            # Whichever is ready first: one warm process that hangs shall not hold up the others'.
            await asyncio.wait(self._waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._takers -= 1
        task = next((task for task in self._waiting if task.done()), None)
        if task is None:
            return None
        self._waiting.remove(task)
        if task.cancelled():
            return None
        if isinstance(task.exception(), LostError):
            await asyncio.sleep(_RETRY_S)
            return None
        child = task.result()
        if not child.lost:
            return child
        child.discard()
        return None

    async def close(self) -> None:
        """End all that wait, and fork no more."""
        self._open = False
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            task.cancel()
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(outcome, Child):
                outcome.discard()

    async def _spawn(self) -> Child:
        started = time.perf_counter()
        child = await self._next_zygote().fork()
        self._tally.spawned += 1
        self._tally.spawn_s += time.perf_counter() - started
        return child

    def _next_zygote(self) -> WarmProcess:
        able: Iterable[WarmProcess] = [zygote for zygote in self._zygotes if zygote.alive]
        able = tuple(able) or self._zygotes
        self._turn += 1
        # In turn, but none that has more on its way than another: it may hang.
        in_turn = (able[(self._turn + n) % len(able)] for n in range(len(able)))
        return min(in_turn, key=lambda each: each.forking)
