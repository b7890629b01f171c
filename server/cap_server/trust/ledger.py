"""Recent patterns of agreement, by tenant, and what they say: kept up to date behind the requests.

A request reads the estimates there are and leaves its pattern; all else happens in one background
task: patterns go to the store, those of other replicas come from it, and estimates are made anew.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import structlog

from cap_server.domain import Pattern
from cap_server.errors import StoreUnavailableError
from cap_server.ports import PatternStore
from cap_server.trust.estimates import Estimates, estimate

WINDOW = 700
"""Patterns that estimates stand on: enough for a few points of error in a source with a tenth of
the traffic, few enough to follow a model that is replaced."""

_MOST_TENANTS = 256
_EVERY = 50
_LONGEST_S = 5.0

_log = structlog.get_logger(__name__)


@dataclass
class _Account:
    """One tenant's."""

    estimates: Estimates
    window: deque[Pattern] = field(default_factory=lambda: deque(maxlen=WINDOW))
    unseen: int = 0


class Ledger:
    """Attributes: stored: whether there is a store, and it answered the last time.

    Args:
        store: keeps patterns across restarts; None keeps them in memory only.
        reliability: what is assumed of the CaP model (`estimate`).
    """

    def __init__(self, store: PatternStore | None, *, reliability: float) -> None:
        self.stored = store is not None
        self._store = store
        self._reliability = reliability
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._pending: deque[tuple[str, Pattern]] = deque(maxlen=10 * WINDOW)
        self._due = asyncio.Event()
        self._ends = False
        self._last = 0

    def estimates(self, tenant: str) -> Estimates:
        """What is believed now."""
        account = self._accounts.get(tenant)
        return account.estimates if account else Estimates(reliability=self._reliability)

    def record(self, tenant: str, pattern: Pattern) -> None:
        """Take note of a refinement's pattern; it counts within seconds."""
        if not any(program is not None for program in pattern.programs):
            return
        account = self._account(tenant)
        account.window.append(pattern)
        account.unseen += 1
        self._pending.append((tenant, pattern))
        if account.unseen >= _EVERY:
            self._due.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Ledger]:
        """Keep the estimates up to date; on leaving, store what is not stored yet."""
        await self._read()
        await self._estimate()
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            # Not cancelled: what it is just storing is stored all the same, and would be twice.
            self._ends = True
            self._due.set()
            await task
            await self._write()

    async def _run(self) -> None:
        while not self._ends:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), _LONGEST_S)
            self._due.clear()
            await self._write()
            if not self._ends:
                await self._read()
                await self._estimate()

    async def _write(self) -> None:
        if self._store is None or not self._pending:
            return
        batch = list(self._pending)
        try:
            await self._store.append(batch)
        except StoreUnavailableError:
            self._tell(stored=False)
            return
        for _ in batch:
            self._pending.popleft()
        self._tell(stored=True)

    async def _read(self) -> None:
        """Take in what others stored since the last time."""
        if self._store is None:
            return
        try:
            self._last, others = await self._store.others(after=self._last)
        except StoreUnavailableError:
            self._tell(stored=False)
            return
        self._tell(stored=True)
        for tenant, pattern in others:
            account = self._account(tenant)
            account.window.append(pattern)
            account.unseen += 1

    async def _estimate(self) -> None:
        for account in list(self._accounts.values()):
            if account.unseen:
                account.unseen = 0
                patterns = list(account.window)
                # In a thread: it takes tens of milliseconds, in which the loop has better to do.
                account.estimates = await asyncio.to_thread(
                    estimate, patterns, reliability=self._reliability
                )

    def _account(self, tenant: str) -> _Account:
        account = self._accounts.get(tenant)
        if account is None:
            account = _Account(Estimates(reliability=self._reliability))
            self._accounts[tenant] = account
        self._accounts.move_to_end(tenant)
        if len(self._accounts) > _MOST_TENANTS:
            self._accounts.popitem(last=False)
        return account

    def _tell(self, *, stored: bool) -> None:
        if stored is not self.stored:
            _log.log(20 if stored else 30, "trust_store", stored=stored, pending=len(self._pending))
        self.stored = stored
