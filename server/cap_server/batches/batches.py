"""The batches that this process works on, and those that it can continue."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import structlog

from cap_server.batches.item import Item, Name
from cap_server.batches.keeper import Keeper
from cap_server.batches.reader import Reader
from cap_server.batches.run import Run, Work
from cap_server.errors import BatchMismatchError, StoreUnavailableError
from cap_server.ports import BatchStore

_SWEEP_EVERY_S = 60.0
_PAGE = 50

_log = structlog.get_logger(__name__)


class Reading:
    """One connection's view of a batch: the items that were done before, then the others."""

    def __init__(
        self, id_: str, run: Run, reader: Reader, before: frozenset[int], store: BatchStore | None
    ) -> None:
        self.id = id_
        self._run = run
        self._reader = reader
        self._before = before
        self._store = store

    async def items(self) -> AsyncIterator[Item]:
        """All of the batch's items; fewer where another connection or replica took it over.

        Raises:
            StoreUnavailableError: the database stopped answering.
        """
        sent = 0
        async for item in self._stored():
            sent += 1
            yield item
        while sent < self._run.size and (item_ := await self._reader.next()) is not None:
            sent += 1
            yield item_

    async def leave(self) -> None:
        """Read no more. What cannot be continued is cancelled, the rest comes to its end first."""
        if self._store is None:
            await self._run.stop()
            return
        await self._run.detach(self._reader)
        await self._reader.free.wait()

    async def _stored(self) -> AsyncIterator[Item]:
        after = -1
        while self._store is not None and self._before:
            page = await self._store.kept(self.id, after=after, most=_PAGE)
            if not page:
                return
            after = page[-1].index
            for item in page:
                if item.index in self._before:
                    yield item


@dataclass
class _Named:
    """A run that goes by a name. `until`: when its lease ends, on the loop's clock."""

    id: str
    holder: str
    body_hash: str
    until: float
    run: Run | None = None


class Batches:
    """Args:
    store: None: batches cannot be continued.
    at_once: problems of one batch under way together.
    kept_s: how long items are kept after a batch was last worked on.
    kept_bytes: of all items together; the oldest of whoever has most go first.
    lease_s: how long a replica that is gone keeps others from a batch.
    """

    def __init__(
        self,
        store: BatchStore | None,
        *,
        at_once: int,
        kept_s: float,
        kept_bytes: int,
        lease_s: float = 15.0,
    ) -> None:
        self._store = store
        self._keeper = Keeper(store) if store else None
        self._at_once = at_once
        self._kept_s = kept_s
        self._kept_bytes = kept_bytes
        self._lease_s = lease_s
        self._named: dict[tuple[str, str], _Named] = {}
        self._tending: set[asyncio.Task[None]] = set()
        self._finishes = False
        # One at a time finds, makes and gives up named runs.
        self._changing = asyncio.Lock()

    async def open(self, size: int, *, work: Work, name: Name | None) -> Reading:
        """Begin a batch, or go on with the one of this name.

        Raises:
            BatchMismatchError: the name stands for other problems.
            BatchHeldError: another replica works on it.
            StoreUnavailableError: it has a name, and the database does not answer.
        """
        if name is None:
            run = Run(size, work=work, at_once=self._at_once)
            reader, before = await run.attach()
            return Reading(_new_id(), run, reader, before, None)
        if self._store is None or self._keeper is None:
            raise StoreUnavailableError("This server has no database to continue batches from.")
        async with self._changing:
            if self._finishes:
                raise StoreUnavailableError("This server is about to end.", retry_after_s=1)
            named = self._named.get(_key(name))
            if named is None:
                named = await self._claimed(name, self._store)
                named.run = await self._run_of(named, size, work, self._store, self._keeper)
                self._named[_key(name)] = named
                self._tend(name, named, self._store)
            elif named.body_hash != name.body_hash:
                raise BatchMismatchError()
            assert named.run is not None
            reader, before = await named.run.attach()
            return Reading(named.id, named.run, reader, before, self._store)

    async def finish(self) -> None:
        """Let batches that can be continued elsewhere begin nothing more: the server ends soon."""
        self._finishes = True
        async with self._changing:
            for each in self._named.values():
                if each.run is not None:
                    await each.run.finish()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Batches]:
        """Sweep what is too old; on leaving, cancel what is under way and free it for others."""
        sweeping = asyncio.create_task(self._sweep())
        try:
            yield self
        finally:
            sweeping.cancel()
            runs = [each.run for each in self._named.values() if each.run is not None]
            await asyncio.gather(*(run.stop() for run in runs))
            await asyncio.gather(sweeping, *self._tending, return_exceptions=True)

    async def _claimed(self, name: Name, store: BatchStore) -> _Named:
        holder = uuid.uuid4().hex
        asked = asyncio.get_running_loop().time()
        id_ = await store.claim(name, new_id=_new_id(), holder=holder, lease_s=self._lease_s)
        return _Named(id_, holder, name.body_hash, until=asked + self._lease_s)

    async def _run_of(
        self, named: _Named, size: int, work: Work, store: BatchStore, keeper: Keeper
    ) -> Run:
        loop = asyncio.get_running_loop()
        try:
            done = await store.indexes(named.id)
        except StoreUnavailableError:
            await _released(named, store)
            raise
        return Run(
            size,
            work=work,
            at_once=self._at_once,
            keep=partial(keeper.keep, named.id),
            # A process that was stopped for a while wakes up to a batch that may be another's.
            may_begin=lambda: loop.time() < named.until,
            done=done,
        )

    def _tend(self, name: Name, named: _Named, store: BatchStore) -> None:
        task = asyncio.create_task(self._tended(name, named, store))
        self._tending.add(task)
        task.add_done_callback(self._tending.discard)

    async def _tended(self, name: Name, named: _Named, store: BatchStore) -> None:
        """Keep the lease while the run is wanted; give it up once it rests."""
        run = named.run
        assert run is not None
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(run.resting(), self._lease_s / 3)
            async with self._changing:
                held = not run.rests() and await self._renewed(named, store)
                if not held:
                    del self._named[_key(name)]
                    break
            run.go_on()
        if run.rests():
            await _released(named, store)
            return
        _log.warning("batch_lost", batch=named.id)
        await run.halt()

    async def _renewed(self, named: _Named, store: BatchStore) -> bool:
        """Whether the batch is still ours; while the database is away, until the lease ends."""
        now = asyncio.get_running_loop().time()
        try:
            held = await store.renew(named.id, holder=named.holder, lease_s=self._lease_s)
        except StoreUnavailableError:
            return now < named.until
        if held:
            named.until = now + self._lease_s
        return held

    async def _sweep(self) -> None:
        while self._store is not None:
            with suppress(StoreUnavailableError):
                before = time.time() - self._kept_s
                await self._store.sweep(before=before, most_bytes=self._kept_bytes)
            await asyncio.sleep(_SWEEP_EVERY_S)


async def _released(named: _Named, store: BatchStore) -> None:
    with suppress(StoreUnavailableError):  # it ends by itself, later
        await store.release(named.id, holder=named.holder)


def _key(name: Name) -> tuple[str, str]:
    return name.tenant, name.key


def _new_id() -> str:
    return f"batch_{uuid.uuid4().hex}"
