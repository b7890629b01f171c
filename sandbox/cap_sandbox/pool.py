"""A pool of single-use processes: bounded, timed by its own clock, never out of service."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Hashable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

from cap_sandbox import memory
from cap_sandbox.child import Child, HandedOverError, LostError
from cap_sandbox.errors import PoolError, QueueFullError, WeakIsolationError
from cap_sandbox.figures import Figure, Tally
from cap_sandbox.kinds import KINDS, Kind, kind_for
from cap_sandbox.protocol import (
    MAX_PROGRAM_BYTES,
    TIERS,
    Execution,
    Limits,
    check_limits,
)
from cap_sandbox.spares import Spares
from cap_sandbox.turns import Turns
from cap_sandbox.warm import WarmProcess

_ATTEMPTS = 3
_READY_S = 30.0
_RETRY_S = 0.05
# The least time that `Limits.wall_s` can be.
_LEAST_S = 0.05
_PATIENCE = 100
# What a process may use beyond its program's limit: pages of the warm process that it has changed,
# and the reserve for its report.
_PROCESS_BYTES = 150 * 1024**2
# A warm process itself has about 100 MiB, and for a moment more while it imports.
_WARM_BYTES = 400 * 1024**2


class Pool:
    """Runs untrusted programs, each in a process of its own that is never used again.

    An async context manager: on entry it starts its warm processes and finds out how well this
    machine isolates; on exit every process is gone.

    Args:
        workers: how many programs run at once, 1 or more.
        max_queue: how many more may wait; the next one is refused.
        memory_bytes: what all programs that run may use together; more wait for their turn, and
            no program gets more than this. None: three quarters of what the machine, or the
            control group, has left when the pool starts.
        allow_weak: run even where no system-call filter can be loaded.
        without: layers to leave out, to test the others by themselves: `policy`, `namespaces`,
            `landlock`, `seccomp`, `cgroup`.
    """

    def __init__(
        self,
        *,
        workers: int,
        max_queue: int = 1024,
        memory_bytes: int | None = None,
        allow_weak: bool = False,
        without: Collection[str] = (),
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be 1 or more, not {workers}")
        self._workers = workers
        self._max_queue = max_queue
        self._allow_weak = allow_weak
        self._without = tuple(without)
        self._memory_bytes = memory_bytes or 0
        self._turns: Turns | None = None
        self._group: memory.MemoryGroup | None = None
        self._zygotes: tuple[WarmProcess, ...] = ()
        self._spares: dict[Kind, Spares] = {}
        self._tally = Tally()

    async def __aenter__(self) -> Self:
        count = min(self._workers, len(os.sched_getaffinity(0)))
        self._share_memory(count)
        zygotes = {
            kind: [
                WarmProcess(kind, without=self._without, group=self._group) for _ in range(count)
            ]
            for kind in KINDS
        }
        self._zygotes = tuple(zygote for kind in KINDS for zygote in zygotes[kind])
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
        for kind in KINDS:
            self._spares[kind] = Spares(kind, zygotes[kind], most=self._workers, tally=self._tally)
            self._spares[kind].refill()
        return self

    def _share_memory(self, zygotes: int) -> None:
        total = self._memory_bytes or memory.available() * 3 // 4
        # One program of the default size has to fit wherever the pool runs at all.
        self._memory_bytes = max(total, Limits().memory_bytes + _PROCESS_BYTES)
        self._turns = Turns(
            workers=self._workers, memory_bytes=self._memory_bytes, max_waiting=self._max_queue
        )
        if "cgroup" not in self._without:
            warm_bytes = zygotes * len(KINDS) * _WARM_BYTES
            self._group = memory.bounded_group(self._memory_bytes + warm_bytes)

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
        granted = {
            layer: all(zygote.layers[layer] for zygote in self._zygotes)
            for layer in self._zygotes[0].layers
        }
        return {**granted, "cgroup": all(zygote.bounded for zygote in self._zygotes)}

    @property
    def handed_over(self) -> int:
        """How many programs turned out to need another kind of process than their text told."""
        return self._tally.handed_over

    def figures(self) -> tuple[Figure, ...]:
        """What it is doing, and what it has done, for metrics."""
        running = self._turns.running if self._turns else 0
        waiting = self._turns.waiting if self._turns else 0
        now = (
            ("cap_sandbox_workers", "Programs that may run at once.", self._workers),
            ("cap_sandbox_running", "Programs that run.", running),
            ("cap_sandbox_waiting", "Programs that wait for their turn.", waiting),
        )
        tier = Figure(
            "cap_sandbox_tier", "gauge", "1, with the tier.", 1, labels=(("tier", self.tier),)
        )
        gauges = (Figure(name, "gauge", meaning, value) for name, meaning, value in now)
        return (*gauges, tier, *self._tally.figures())

    async def execute(self, program: str, *, limits: Limits, client: Hashable = None) -> Execution:
        """Run untrusted `program` to its end or to `limits`.

        Cancelling the call kills the program.

        Args:
            program: its text.
            limits: what it may use.
            client: the request that it belongs to, if any: requests take turns.

        Raises:
            ValueError: `limits` are outside their documented ranges.
            QueueFullError: too many programs wait already.
            PoolError: the sandbox, not the program, failed.
        """
        check_limits(limits)
        if len(program.encode("utf-8", "replace")) > MAX_PROGRAM_BYTES:
            self._tally.ended["rejected"] += 1
            text = f"line 1: the program is longer than {MAX_PROGRAM_BYTES} bytes: write less"
            return Execution("rejected", stderr=text)
        if self._turns is None:
            raise PoolError("the pool is not open")
        most = self._memory_bytes - _PROCESS_BYTES
        limits = replace(limits, memory_bytes=min(limits.memory_bytes, most))
        memory_bytes = limits.memory_bytes + _PROCESS_BYTES
        try:
            async with self._turns.turn(client, memory_bytes=memory_bytes):
                execution = await self._run(program, limits)
        except QueueFullError:
            self._tally.refused += 1
            raise
        self._tally.ended[execution.status] += 1
        return execution

    async def _run(self, program: str, limits: Limits) -> Execution:
        try:
            return await self._attempt(kind_for(program), program, limits)
        except HandedOverError as handed_over:
            self._tally.handed_over += 1
            spent_s = min(handed_over.after_s, limits.wall_s - _LEAST_S)
            return await self._attempt("heavy", program, limits, spent_s=spent_s)

    async def _attempt(
        self, kind: Kind, program: str, limits: Limits, *, spent_s: float = 0.0
    ) -> Execution:
        for _ in range(_ATTEMPTS):
            child = await self._take(kind)
            try:
                return await child.run(program, limits, spent_s=spent_s)
            except LostError:
                continue
            finally:
                child.discard()
                for spares in self._spares.values():
                    spares.note(kind)
                    spares.refill()
        raise PoolError("the sandbox lost the program's process, again and again")

    async def _take(self, kind: Kind) -> Child:
        """Return a process that is ready, one forked ahead of need if there is one."""
        try:
            async with asyncio.timeout(_READY_S):
                while True:
                    child = await self._spares[kind].take()
                    if child is not None:
                        return child
        except TimeoutError as error:
            raise PoolError(f"no process became ready in {_READY_S:g} s") from error

    async def _stop(self) -> None:
        await asyncio.gather(*(spares.close() for spares in self._spares.values()))
        await asyncio.gather(*(zygote.stop() for zygote in self._zygotes))
        await self._remove_group()

    async def _remove_group(self) -> None:
        # Programs that were killed with their warm process may take a moment to be gone.
        for _ in range(_PATIENCE):
            if self._group is None or self._group.remove():
                return
            await asyncio.sleep(_RETRY_S)
