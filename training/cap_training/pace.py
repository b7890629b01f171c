"""How far a training run is, what learning rate that asks for, and how long it still takes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from cap_training.budget import Clock

WARM_UP_STEPS = 50
_WINDOW = 200


@dataclass
class Pace:
    """What ends a run: time, tokens or steps, whichever comes first.

    The learning rate rises over the first steps and then falls in a straight line to nothing at the
    end, wherever that is: with a budget in time it comes down in time.

    Attributes:
        budget_s: wall-clock seconds for all of it; None: no limit.
        max_tokens: None: no limit.
        total_steps: those of all epochs.
        tokens: seen so far.
        step: taken so far.
    """

    clock: Clock
    total_steps: int
    budget_s: float | None = None
    max_tokens: int | None = None
    tokens: int = 0
    step: int = 0
    _marks: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    def advance(self, step: int) -> None:
        """Notes that `step` is done."""
        self.step = step
        self._marks.append((self.clock.elapsed_s(), self.fraction()))

    def fraction(self) -> float:
        """How much of the run is done, 0 to 1."""
        parts = [self.step / max(1, self.total_steps)]
        if self.budget_s is not None:
            parts.append(self.clock.elapsed_s() / self.budget_s)
        if self.max_tokens is not None:
            parts.append(self.tokens / self.max_tokens)
        return min(1.0, max(parts))

    def rate(self) -> float:
        """The learning rate now, as a share of its peak."""
        steps = min(WARM_UP_STEPS, max(1, self.total_steps // 10))
        return min(1.0, (self.step + 1) / steps) * (1 - self.fraction())

    def over(self) -> bool:
        """Whether there is no room for one more step."""
        if self.budget_s is not None and len(self._marks) > 1:
            (first_s, _), (last_s, _) = self._marks[0], self._marks[-1]
            step_s = (last_s - first_s) / (len(self._marks) - 1)
            if self.clock.elapsed_s() + step_s > self.budget_s:
                return True
        return self.fraction() >= 1.0

    def left_s(self) -> float | None:
        """Seconds until the end at the speed of the latest steps; None while it is not known."""
        if len(self._marks) < 2:
            return None
        (first_s, first), (last_s, last) = self._marks[0], self._marks[-1]
        if last <= first:
            return None
        return (1 - last) * (last_s - first_s) / (last - first)
