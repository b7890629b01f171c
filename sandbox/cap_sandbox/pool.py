"""A pool of single-use processes: bounded, timed by its own clock, never out of service."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Self

from cap_sandbox.child import Child, LostError
from cap_sandbox.errors import PoolError, QueueFullError, WeakIsolationError
from cap_sandbox.protocol import (
    MAX_PROGRAM_BYTES,
    TIERS,
    Execution,
    Limits,
    check_limits,
)
from cap_sandbox.warm import WarmProcess

_ATTEMPTS = 3
_READY_S = 30.0
_RETRY_S = 0.05


class Pool:
    """Runs untrusted programs, each in a process of its own that is never used again.

    An async context manager: on entry it starts its warm processes and finds out how well this
    machine isolates; on exit every process is gone.

    Args:
        workers: how many programs run at once, 1 or more.
        max_queue: how many more may wait; the next one is refused.
        allow_weak: run even where no system-call filter can be loaded.
        without: layers to leave out, to test the others by themselves: `policy`, `namespaces`,
            `landlock`, `seccomp`.
    """

    def __init__(
        self,
        *,
        workers: int,
        max_queue: int = 1024,
        allow_weak: bool = False,
        without: Collection[str] = (),
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be 1 or more, not {workers}")
        self._workers = workers
        self._max_queue = max_queue
        self._allow_weak = allow_weak
        self._without = tuple(without)
        self._slots = asyncio.Semaphore(workers)
        self._waiting = 0
        self._zygotes: tuple[WarmProcess, ...] = ()
        self._spares: deque[asyncio.Task[Child]] = deque()
        self._turn = 0
        self._open = False

    async def __aenter__(self) -> Self:
        count = min(self._workers, len(os.sched_getaffinity(0)))
        self._zygotes = tuple(WarmProcess(without=self._without) for _ in range(count))
        try:
            starts = (zygote.start() for zygote in self._zygotes)
            for outcome in await asyncio.gather(*starts, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
            if self.tier == "weak" and not self._allow_weak:
                raise WeakIsolationError
        except BaseException:
            await self._stop()
            raise
        self._open = True
        self._refill()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    @property
    def tier(self) -> str:
        """How well programs are shut in: `strong`, `standard`, `basic` or `weak`."""
        return min((zygote.tier for zygote in self._zygotes), key=TIERS.index, default="weak")

    @property
    def layers(self) -> Mapping[str, bool]:
        """Each layer of isolation, and whether this machine grants it."""
        return dict(self._zygotes[0].layers)

    async def execute(self, program: str, *, limits: Limits) -> Execution:
        """Run untrusted `program` to its end or to `limits`.

        Cancelling the call kills the program.

        Raises:
            ValueError: `limits` are outside their documented ranges.
            QueueFullError: too many programs wait already.
            PoolError: the sandbox, not the program, failed.
        """
        check_limits(limits)
        if len(program.encode("utf-8", "replace")) > MAX_PROGRAM_BYTES:
            text = f"line 1: the program is longer than {MAX_PROGRAM_BYTES} bytes: write less"
            return Execution("rejected", stderr=text)
        await self._wait_for_turn()
        try:
            return await self._attempt(program, limits)
        finally:
            self._slots.release()

    async def _wait_for_turn(self) -> None:
        if self._slots.locked() and self._waiting >= self._max_queue:
            raise QueueFullError(self._waiting)
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1

    async def _attempt(self, program: str, limits: Limits) -> Execution:
        for _ in range(_ATTEMPTS):
            child = await self._take()
            try:
                return await child.run(program, limits)
            except LostError:
                continue
            finally:
                child.discard()
                self._refill()
        raise PoolError("the sandbox lost the program's process, again and again")

    async def _take(self) -> Child:
        """Return a process that is ready, one forked ahead of need if there is one."""
        try:
            async with asyncio.timeout(_READY_S):
                while True:
                    child = await self._next_spare()
                    if child is not None:
                        return child
        except TimeoutError as error:
            raise PoolError(f"no process became ready in {_READY_S:g} s") from error

    async def _next_spare(self) -> Child | None:
        self._refill(at_least=1)
        if not self._spares:
            raise PoolError("the pool is closed")
        task = self._spares.popleft()
        try:
            child = await task
        except LostError:
            await asyncio.sleep(_RETRY_S)
            return None
        except asyncio.CancelledError:
            task.add_done_callback(_discard_result)
            raise
        if not child.lost:
            return child
        child.discard()
        return None

    def _refill(self, at_least: int | None = None) -> None:
        wanted = self._workers if at_least is None else at_least
        while self._open and len(self._spares) < wanted:
            able = [zygote for zygote in self._zygotes if zygote.alive] or self._zygotes
            self._turn += 1
            zygote = able[self._turn % len(able)]
            self._spares.append(asyncio.create_task(zygote.fork()))

    async def _stop(self) -> None:
        self._open = False
        spares, self._spares = list(self._spares), deque()
        for task in spares:
            task.cancel()
        for outcome in await asyncio.gather(*spares, return_exceptions=True):
            if isinstance(outcome, Child):
                outcome.discard()
        await asyncio.gather(*(zygote.stop() for zygote in self._zygotes))


def _discard_result(task: asyncio.Task[Child]) -> None:
    """Let go of a child that became ready for a caller who had left."""
    if not task.cancelled() and task.exception() is None:
        task.result().discard()
