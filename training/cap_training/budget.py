"""Wall-clock budgets: `10m`, `1h30m`; and a clock that goes on where a killed run's stopped."""

from __future__ import annotations

import re
import time

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_FORM = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")


def seconds(text: str) -> float:
    """Reads a duration.

    Args:
        text: numbers with the units s, m, h, d: `90s`, `1h30m`; a bare number means seconds.

    Raises:
        ValueError: it is no duration, or none at all.
    """
    found = text.strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", found):
        found += "s"
    if not _FORM.fullmatch(found):
        raise ValueError(f"{text!r} is no duration; write it as 90s, 10m or 1h30m")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", found)
    total = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if total <= 0:
        raise ValueError(f"{text!r} is no time at all")
    return total


def spoken(duration_s: float) -> str:
    """A duration as a person reads it, in its two largest units."""
    left = max(0, round(duration_s))
    if left < 60:
        return f"{left} s"
    if left < 3600:
        return f"{left // 60} min {left % 60:02d} s"
    if left < 86_400:
        return f"{left // 3600} h {left % 3600 // 60:02d} min"
    return f"{left // 86_400} d {left % 86_400 // 3600} h"


class Clock:
    """Seconds at work, those of a run that was killed included.

    Args:
        before_s: what earlier runs of the same work took.
    """

    def __init__(self, before_s: float = 0.0) -> None:
        self._began = time.monotonic() - before_s

    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def resume(self, before_s: float) -> None:
        """Adds what the run that is resumed took; what this one took so far counts too."""
        self._began -= before_s
