"""The token budget of one request: never overdrawn, and never idle while a draw could start."""

from __future__ import annotations

import asyncio


class TokenBudget:
    """Hands out completion tokens to draws that run at once.

    A draw reserves the most it may use before it starts and returns what it did not use, so the
    sum over all draws cannot exceed the limit, however the draws end.

    Args:
        limit: completion tokens for all draws together; None for no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self._free = limit
        self._running = 0
        self._changed = asyncio.Condition()

    async def reserve(self, most: int) -> int:
        """Wait for up to `most` tokens; 0 when the budget is spent for good.

        Less than `most` is granted only when nothing that runs could return more.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._enough(most) or self._running == 0)
            granted = most if self._free is None else min(most, self._free)
            if self._free is not None:
                self._free -= granted
            self._running += granted > 0
            return granted

    async def settle(self, granted: int, *, spent: int) -> None:
        """Return what a draw that reserved `granted` tokens did not use."""
        async with self._changed:
            self._running -= 1
            if self._free is not None:
                self._free += max(0, granted - spent)
            self._changed.notify_all()

    def _enough(self, most: int) -> bool:
        return self._free is None or self._free >= most
