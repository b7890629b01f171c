"""A circuit breaker: a server that fails again and again is left alone for a while.

Closed, requests pass. After `_FAILURES` in a row it opens: none passes, so that nobody waits for
what fails, and what is overloaded can recover. After a while one request passes as a probe (half
open): if it succeeds the circuit closes, if it fails it opens for twice as long.
Source: M. Nygard, Release It!, "Circuit Breaker".
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cap_server.domain import CircuitState

_FAILURES = 5
_SHORTEST_S = 1.0
_LONGEST_S = 10.0


class Circuit:
    """Args: clock: in seconds, monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._open_s = 0.0
        self._opened = 0.0
        self._probing = False

    @property
    def state(self) -> CircuitState:
        if not self._open_s:
            return "closed"
        return "open" if self.opens_in_s() > 0 else "half_open"

    def opens_in_s(self) -> float:
        """Seconds until a probe may pass; 0 where something may pass now."""
        return max(0.0, self._opened + self._open_s - self._clock()) if self._open_s else 0.0

    def admits(self) -> bool:
        """Whether a request may pass now."""
        return self.state == "closed" or (self.state == "half_open" and not self._probing)

    def enter(self) -> None:
        """A request passes. One of `succeeded`, `failed` and `abandoned` must follow."""
        self._probing = self._probing or self.state == "half_open"

    def succeeded(self) -> None:
        self._failures, self._open_s, self._probing = 0, 0.0, False

    def failed(self) -> None:
        self._failures += 1
        if self.state == "half_open":
            self._open(min(_LONGEST_S, 2 * self._open_s))
        elif self.state == "closed" and self._failures >= _FAILURES:
            self._open(_SHORTEST_S)
        self._probing = False

    def abandoned(self) -> None:
        """It ended without telling anything: the next one may probe."""
        self._probing = False

    def _open(self, seconds: float) -> None:
        self._opened, self._open_s = self._clock(), seconds
