"""A limit on what is under way at once, learned from how latency follows it.

Source: Gradient2Limit of Netflix's concurrency-limits
(https://github.com/Netflix/concurrency-limits, Apache-2.0). While latency stays what it was over a
long time the limit grows by a little queue; when latency rises the limit falls by as much. From its
predecessor GradientLimit it has the growth, by the square root of the limit, and the tolerance for
latency that rises because the work is another; from AIMDLimit the fall when something is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_WINDOW_S = 1.0
_LEAST_SAMPLES = 10
_LONG_WINDOWS = 600
_TOLERANCE = 2.0
_WARM_UP = 10
_SMOOTHING = 0.2
_BACK_OFF = 0.9


class GradientLimit:
    """Attributes: value: the limit.

    Args:
        least: it falls no lower.
        most: it grows no higher, and starts there: nothing is refused before something is known.
        clock: seconds.
    """

    def __init__(self, *, least: int, most: int, clock: Callable[[], float]) -> None:
        self.value = float(most)
        self._least = least
        self._most = most
        self._clock = clock
        self._began = clock()
        self._sum = 0.0
        self._samples = 0
        self._peak = 0.0
        self._refused = False
        self._windows = 0
        self._long = 0.0

    def sample(self, latency_s: float, *, in_use: float) -> None:
        """Take note of one latency, and of how much was under way then."""
        self._sum += latency_s
        self._samples += 1
        self._peak = max(self._peak, in_use)
        if self._samples >= _LEAST_SAMPLES and self._clock() - self._began >= _WINDOW_S:
            self._learn(self._sum / self._samples)
            self._next_window()

    def refused(self) -> None:
        """Take note that what the limit is for had no room: once a window it falls for that."""
        if not self._refused:
            self._set(self.value * _BACK_OFF)
        self._refused = True
        if self._clock() - self._began >= _WINDOW_S:
            self._next_window()

    def _learn(self, short: float) -> None:
        long = self._averaged(short)
        if long > 2 * short:  # the load is over
            self._long *= _BACK_OFF
        if self._peak < self.value / 2:  # it is not the limit that held anything back
            return
        gradient = max(0.5, min(1.0, _TOLERANCE * long / short)) if short > 0 else 1.0
        wanted = self.value * gradient + math.sqrt(self.value)
        self._set(self.value * (1 - _SMOOTHING) + wanted * _SMOOTHING)

    def _averaged(self, short: float) -> float:
        """The long-term average: the plain one at first, then an exponential one."""
        self._windows += 1
        if self._windows <= _WARM_UP:
            self._long += (short - self._long) / self._windows
        else:
            self._long += (short - self._long) * 2 / (_LONG_WINDOWS + 1)
        return self._long

    def _set(self, value: float) -> None:
        self.value = max(float(self._least), min(float(self._most), value))

    def _next_window(self) -> None:
        self._began = self._clock()
        self._sum, self._samples, self._peak, self._refused = 0.0, 0, 0.0, False
