"""A token bucket: so many in a minute, a minute's worth at once after a pause."""

from __future__ import annotations

from collections.abc import Callable


class Bucket:
    """Starts full.

    Args:
        per_minute: both how much it holds and how fast it fills.
        clock: seconds.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._tokens = float(per_minute)
        self._then = clock()

    def take(self) -> bool:
        """Take one, if there is one."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait_s(self) -> float:
        """Seconds until there is one."""
        self._fill()
        return max(0.0, (1 - self._tokens) * 60 / self.per_minute)

    def _fill(self) -> None:
        now = self._clock()
        gained = (now - self._then) * self.per_minute / 60
        self._tokens = min(float(self.per_minute), self._tokens + gained)
        self._then = now
