"""Draws under way: all run at once, are handed out in the order of their draws, and end together.

The order is what makes a request with a seed repeat exactly: a strategy that stops early sees the
same candidates first, whichever draw happens to be finished sooner.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Self

from cap_server.domain import Candidate, Problem

Draw = Coroutine[None, None, Candidate | None]


class Drawing:
    """Leaving the context cancels what is still under way, and with it the upstream's work.

    Args:
        draw: makes the coroutine of one more draw of a problem, or None when no more may be drawn.
        deadline: on the loop's clock; what is not complete by then is not handed out.
        overdue: told when the deadline came first.
    """

    def __init__(
        self,
        draw: Callable[[Problem], Draw | None],
        *,
        deadline: float,
        overdue: Callable[[], None],
    ) -> None:
        self._draw = draw
        self._deadline = deadline
        self._overdue = overdue
        self._tasks: list[asyncio.Task[Candidate | None]] = []

    @property
    def size(self) -> int:
        """How many draws there are, those that failed or are still under way among them."""
        return len(self._tasks)

    def add(self, problem: Problem) -> bool:
        """Start one more draw; false when the request's budget allows none."""
        draw = self._draw(problem)
        if draw is not None:
            self._tasks.append(asyncio.ensure_future(draw))
        return draw is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aiter__(self) -> AsyncIterator[Candidate]:
        """Candidates in the order of their draws; draws that failed are passed over.

        Raises:
            SandboxUnavailableError: the sandbox failed.
        """
        at = 0
        while at < len(self._tasks):
            task, at = self._tasks[at], at + 1
            if not task.done():
                await asyncio.wait({task}, timeout=self._left_s())
            if not task.done():
                self._overdue()
                continue
            candidate = task.result()
            if candidate is not None:
                yield candidate

    def _left_s(self) -> float:
        return max(0.0, self._deadline - asyncio.get_running_loop().time())
