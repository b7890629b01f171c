"""When the request that a task works for must have its answer.

It travels in a context variable, so that an adapter that considers waiting knows whether anybody
would still be there.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[float] = ContextVar("deadline", default=math.inf)


@contextmanager
def ending_at(deadline: float) -> Iterator[None]:
    """What is done within, and the tasks started there, must end at `deadline` of the loop's clock.

    A deadline around it that is sooner stays.
    """
    token = _current.set(min(deadline, _current.get()))
    try:
        yield
    finally:
        _current.reset(token)


def left_s() -> float:
    """Seconds until the deadline of the running request; infinite where it has none."""
    return max(0.0, _current.get() - asyncio.get_running_loop().time())
