"""The servers that offer the same model: which one is asked next, and how each one fares."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from cap_server.adapters.circuit import Circuit
from cap_server.domain import ReplicaFigures
from cap_server.errors import ModelUnavailableError
from cap_server.secrecy import without_credentials

_DRAWS = 100
_LEAST_DRAWS = 20  # below, the 95th percentile says nothing


class Replica:
    """Args: url: the API's root; clock: in seconds, monotonic.

    Attributes: place: the URL as it may be shown.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url.rstrip("/")
        self.place = without_credentials(self.url)
        self.circuit = Circuit(clock=clock)
        self.under_way = 0
        self._clock = clock
        self._rests_until = 0.0
        self._draws_s: deque[float] = deque(maxlen=_DRAWS)

    @contextmanager
    def visited(self) -> Iterator[Visit]:
        """One request to it, counted until it ends."""
        visit = Visit(self)
        self.circuit.enter()
        self.under_way += 1
        try:
            yield visit
        finally:
            self.under_way -= 1
            if not visit.told:
                self.circuit.abandoned()

    @property
    def rests(self) -> bool:
        """Whether it asked to be left alone for now."""
        return self._clock() < self._rests_until

    def rest(self, seconds: float) -> None:
        self._rests_until = max(self._rests_until, self._clock() + seconds)

    def drew(self, seconds: float) -> None:
        """Take note of how long a draw took."""
        self._draws_s.append(seconds)

    def slow_after_s(self) -> float:
        """The 95th percentile of what its last draws took; infinite while too few are known."""
        if len(self._draws_s) < _LEAST_DRAWS:
            return math.inf
        ordered = sorted(self._draws_s)
        return ordered[math.ceil(0.95 * len(ordered)) - 1]


class Visit:
    """What a request told about its replica; nothing, where it was cancelled."""

    def __init__(self, replica: Replica) -> None:
        self.told = False
        self._replica = replica

    def answered(self, status: int) -> None:
        """It answered wholly. That it refuses, or is too busy, is no failure of its own."""
        self.told = True
        if status < 500:
            self._replica.circuit.succeeded()
        else:
            self._replica.circuit.failed()

    def failed(self) -> None:
        self.told = True
        self._replica.circuit.failed()


class Replicas:
    """Args: urls: the APIs' roots; clock: in seconds, monotonic."""

    def __init__(self, urls: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.all = tuple(Replica(url, clock=clock) for url in urls)
        self._turn = 0

    def next(self, *, but: Collection[Replica] = ()) -> Replica | None:
        """The one with the least requests under way, of those that may be asked now.

        Those that rest are asked when all do.

        Args:
            but: not these.
        """
        # Equally busy ones in turn: after the one asked last comes the one behind it.
        turns = self.all[self._turn :] + self.all[: self._turn]
        may = [each for each in turns if each.circuit.admits() and each not in but]
        chosen = min(may, key=lambda each: (each.rests, each.under_way), default=None)
        if chosen is not None:
            self._turn = (self.all.index(chosen) + 1) % len(self.all)
        return chosen

    def figures(self) -> tuple[ReplicaFigures, ...]:
        """Of each, in the order of the URLs."""
        return tuple(
            ReplicaFigures(number, each.circuit.state, each.under_way)
            for number, each in enumerate(self.all)
        )

    def opens_in_s(self) -> int:
        """Whole seconds until one of those that fail is tried again, at least 1."""
        return max(1, math.ceil(min(each.circuit.opens_in_s() for each in self.all)))

    def must(self, *, but: Collection[Replica] = ()) -> Replica:
        """`next`, and where all of them are to be left out, one of those.

        Raises:
            ModelUnavailableError: all have failed too often to be asked now.
        """
        replica = self.next(but=but) or self.next()
        if replica is None:
            raise ModelUnavailableError(
                "The model's server fails again and again; it is left alone for a moment.",
                retry_after_s=self.opens_in_s(),
            )
        return replica
