"""Writes items to the store together: what ends while a write is under way goes with the next."""

from __future__ import annotations

import asyncio

from cap_server.batches.item import Item
from cap_server.errors import StoreUnavailableError
from cap_server.ports import BatchStore

_MOST_AT_ONCE = 256
_PAUSES_S = (0.2, 1.0)
"""Before each further try: a database that is restarted is back soon."""

_Pending = tuple[str, Item, "asyncio.Future[bool]"]


class Keeper:
    def __init__(self, store: BatchStore) -> None:
        self._store = store
        self._pending: list[_Pending] = []
        self._writing: asyncio.Task[None] | None = None

    async def keep(self, batch: str, item: Item) -> bool:
        """Return once `item` is stored, or cannot be: whether it is."""
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending.append((batch, item, stored))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await stored

    async def _write(self) -> None:
        try:
            while self._pending:
                now, self._pending = (
                    self._pending[:_MOST_AT_ONCE],
                    self._pending[_MOST_AT_ONCE:],
                )
                stored = await self._stored(now)
                for *_, future in now:
                    if not future.done():
                        future.set_result(stored)
        finally:
            self._writing = None

    async def _stored(self, pending: list[_Pending]) -> bool:
        rows = [(batch, item) for batch, item, _ in pending]
        for pause_s in (0.0, *_PAUSES_S):
            await asyncio.sleep(pause_s)
            try:
                await self._store.keep(rows)
            except StoreUnavailableError:
                continue
            return True
        return False
