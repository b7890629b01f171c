"""When a request to a model's server is sent again: where it cannot have begun a generation.

That is when no connection came about, when the server says 429, and when it says 503 and when to
come back. After everything else a text may be under way that would be paid for twice.
"""

from __future__ import annotations

import random

import httpx

from cap_server.adapters.faults import retry_after_s
from cap_server.deadline import left_s

TRIES = 3
_BACKOFF_S = 0.1
_LONGEST_WAIT_S = 5.0  # whoever asked waits better without a connection that is held for it


def is_safe(response: httpx.Response) -> bool:
    """Whether the server refused before it began anything."""
    status = response.status_code
    return status == 429 or (status == 503 and retry_after_s(response) is not None)


def wait_s(attempt: int, *, asked_s: float | None, elsewhere: bool) -> float | None:
    """Seconds to wait before another try; None: it is no use.

    Args:
        attempt: how many were made.
        asked_s: what the server asked to wait, where it did.
        elsewhere: whether another server can be asked.
    """
    if attempt >= TRIES:
        return None
    if elsewhere:
        return 0.0
    # Never less than what was asked; spread, so that those refused together do not come together.
    wait = _BACKOFF_S * attempt * random.uniform(0.5, 1.5) if asked_s is None else asked_s
    wait += 0.0 if asked_s is None else random.uniform(0.0, max(_BACKOFF_S, asked_s / 10))
    return wait if wait < min(_LONGEST_WAIT_S, left_s()) else None
