"""How much a key may use: requests per minute, and requests under way at once.

Each server process counts for itself. Requests over a limit are refused at once; the items of a
batch, which is one request for many, wait their turn.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from cap_server.domain import Key
from cap_server.errors import RateLimitedError, TooManyAtOnceError
from cap_server.keys.bucket import Bucket

_USUAL_S = 1.0
_WEIGHT = 0.2


@dataclass
class _Use:
    """One key's. `lasting_s`: how long its requests last, a moving average."""

    bucket: Bucket | None = None
    under_way: int = 0
    lasting_s: float = _USUAL_S
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Turnstile:
    """Args:
    per_minute: requests of a key that names no limit of its own; None: as many as it likes.
    at_once: the same of requests under way.
    clock: seconds.
    """

    def __init__(
        self,
        *,
        per_minute: int | None = None,
        at_once: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_minute = per_minute
        self._at_once = at_once
        self._clock = clock
        self._uses: dict[str, _Use] = {}

    @contextmanager
    def passing(self, key: Key | None) -> Iterator[None]:
        """One request of `key`.

        Raises:
            RateLimitedError: it sent as many as it may in a minute.
            TooManyAtOnceError: as many as it may are under way.
        """
        if key is None:
            yield
            return
        use = self._use(key)
        self._refuse_crowd(key, use)
        if use.bucket is not None and not use.bucket.take():
            raise RateLimitedError(
                f"This API key may send {use.bucket.per_minute} requests a minute.",
                retry_after_s=math.ceil(use.bucket.wait_s()),
            )
        with self._under_way(use):
            yield

    @asynccontextmanager
    async def turn(self, key: Key | None, *, covered: bool) -> AsyncIterator[None]:
        """One item of a batch of `key`: it waits until the limits let it pass.

        Args:
            key: the batch's.
            covered: whether it goes under the place that the batch itself takes.
        """
        if key is None:
            yield
            return
        use = self._use(key)
        while use.bucket is not None and not use.bucket.take():  # noqa: ASYNC110  # time fills it
            await asyncio.sleep(use.bucket.wait_s())
        if covered:
            yield
            return
        while (most := self._most_at_once(key)) is not None and use.under_way >= most:
            use.changed.clear()
            await use.changed.wait()
        with self._under_way(use):
            yield

    def _refuse_crowd(self, key: Key, use: _Use) -> None:
        most = self._most_at_once(key)
        if most is not None and use.under_way >= most:
            raise TooManyAtOnceError(
                f"This API key may have {most} requests under way at once.",
                retry_after_s=max(1, math.ceil(use.lasting_s / most)),
            )

    @contextmanager
    def _under_way(self, use: _Use) -> Iterator[None]:
        use.under_way += 1
        started = self._clock()
        try:
            yield
        finally:
            use.under_way -= 1
            use.lasting_s += _WEIGHT * (self._clock() - started - use.lasting_s)
            use.changed.set()

    def _use(self, key: Key) -> _Use:
        """What `key` uses, under the limits that it has now."""
        use = self._uses.setdefault(key.id, _Use())
        wanted = self._per_minute if key.per_minute is None else key.per_minute
        if (use.bucket.per_minute if use.bucket else None) != (wanted or None):
            use.bucket = Bucket(wanted, clock=self._clock) if wanted else None
        return use

    def _most_at_once(self, key: Key) -> int | None:
        return (self._at_once if key.at_once is None else key.at_once) or None
