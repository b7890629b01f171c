"""A second request where the first is slower than usual; the first answer counts.

Source: Dean and Barroso, The Tail at Scale, CACM 2013: hedged requests after the 95th percentile.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import TypeVar

from cap_server.errors import CapError

T = TypeVar("T")

Start = Callable[[], Coroutine[None, None, T]]


async def hedged(first: Start[T], second: Callable[[], Start[T] | None], *, after_s: float) -> T:
    """What `first` comes to, or `second`, whichever is there sooner. The other one is cancelled.

    Args:
        first: starts at once.
        second: asked after `after_s` what to start beside it; None: nothing.
        after_s: seconds; infinite: never.

    Raises:
        CapError: what `first` raised, once neither can come to anything.
    """
    if math.isinf(after_s):
        return await first()
    tasks = [asyncio.ensure_future(first())]
    try:
        await asyncio.wait(tasks, timeout=after_s)
        if not tasks[0].done() and (start := second()) is not None:
            tasks.append(asyncio.ensure_future(start()))
        waiting = set(tasks)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not isinstance(task.exception(), CapError):
                    return task.result()
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
