"""What happens in a refinement, told while it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from cap_server.domain import Candidate, Step

E = TypeVar("E")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A model came to the end of a text. A program has not run yet: its execution is None."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Executed:
    """A program ran; `candidate` holds its execution and what it came to."""

    candidate: Candidate


Event = Drawn | Executed | Step

Tell = Callable[[Event], None]


def nobody(event: Event) -> None:
    """Listen to nothing."""


async def told(work: Callable[[Callable[[E], None]], Awaitable[T]]) -> AsyncGenerator[E | T, None]:
    """Yield what `work` tells, as it tells it, and what it returns as the last.

    Closing the generator cancels the work and waits until it has ended. A reader that is slow holds
    nobody up, and no memory to speak of: events refer to what the refinement keeps anyway.

    Args:
        work: is given the function to tell with.

    Raises:
        Exception: what `work` raises, after all that it told before.
    """
    events: asyncio.Queue[tuple[E] | None] = asyncio.Queue()
    working = asyncio.ensure_future(work(lambda event: events.put_nowait((event,))))
    working.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield event[0]
        yield working.result()
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
