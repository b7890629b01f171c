"""When a call is sent again, and how long it waits before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from cap_client._errors import CapError, StatusError, UnreachableError


@dataclass(frozen=True, slots=True)
class Retries:
    """The policy: full jitter below a ceiling that doubles, on top of what the server asks for.

    Sent again are calls that never reached the server, or that it refused with 429 or 503, or with
    409 and a time to come back. One that may have reached it is sent again only where that costs
    nothing: reads, and batches, which go on where they were.

    Attributes:
        tries: how often a call is sent at most, the first time included. A batch that moved on
            counts anew.
        within_s: no wait begins that would end later than so many seconds after the call did, or
            after a batch last moved on.
        first_s: the first wait's ceiling.
        longest_s: every wait's ceiling; what `Retry-After` asks for comes on top.
        unreachable: whether a server that cannot be reached is tried again.
    """

    tries: int = 5
    within_s: float = 120.0
    first_s: float = 0.5
    longest_s: float = 20.0
    unreachable: bool = True

    def __post_init__(self) -> None:
        if self.tries < 1 or min(self.within_s, self.first_s, self.longest_s) < 0:
            raise ValueError("Retries: tries must be at least 1, and no time may be negative")


DEFAULT = Retries()


class Attempts:
    """One call's.

    Args:
        policy: when it is sent again.
        free: whether sending it twice costs nothing.
        clock: seconds that only grow.
        jitter: a random number from 0 to 1.
    """

    def __init__(
        self,
        policy: Retries,
        *,
        free: bool,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._free = free
        self._clock = clock
        self._jitter = jitter
        self.moved_on()

    def moved_on(self) -> None:
        """Count tries and seconds anew."""
        self._failed = 0
        self._began = self._clock()

    def wait_s(self, error: CapError) -> float:
        """Seconds until the next try.

        Raises:
            CapError: `error`, where there is to be none.
        """
        self._failed += 1
        if self._failed >= self._policy.tries or not self._may_repeat(error):
            raise error
        ceiling: float = min(self._policy.longest_s, self._policy.first_s * 2 ** (self._failed - 1))
        asked = error.retry_after_s if isinstance(error, StatusError) else 0
        wait_s = (asked or 0) + ceiling * self._jitter()
        if self._clock() + wait_s - self._began > self._policy.within_s:
            raise error
        return wait_s

    def _may_repeat(self, error: CapError) -> bool:
        if isinstance(error, UnreachableError):
            return self._policy.unreachable and (self._free or not error.sent)
        if not isinstance(error, StatusError):
            return False
        # A batch that another server still works on is told apart by when to come back.
        held = error.status == 409 and error.retry_after_s is not None
        return held or error.status in (429, 503)
