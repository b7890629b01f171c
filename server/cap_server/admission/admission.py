"""The gate before refinements: as many at once as model and sandbox bear, in fair turns."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cap_sandbox import Figure
from cap_server.admission.fair_queue import FairQueue, Room, Waiting
from cap_server.admission.limit import GradientLimit
from cap_server.domain import Usage
from cap_server.errors import ModelUnavailableError, OverloadedError, SandboxUnavailableError

_LEAST = 16
_BEARABLE_S = 0.05
"""Programs may wait so long for the sandbox before it counts as twice as slow."""

_LARGE_SHARE = 0.75
"""Of the limit, for large requests together: the rest is always small ones' to have."""

_MOST_OF_LIMIT = 0.25
"""As what one request counts at most: one that never fits would hold up all others."""

_USUAL_S = 1.0
_WEIGHT = 0.1
_LONGEST_RETRY_S = 60


@dataclass(eq=False)
class _Ticket(Waiting):
    """Attributes:
    turn: comes to True with the place, to False where another needs the room to wait more.
    held: what the place takes of the limit.
    """

    turn: asyncio.Future[bool] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    held: float = 0.0


class Admission:
    """Args:
    most: draws under way at once, at most; None: everything is let through at once.
    queue: requests that may wait; items of batches wait besides.
    clock: seconds.
    """

    def __init__(
        self, *, most: int | None, queue: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        least = min(_LEAST, most or _LEAST)
        self._most = most
        self._model = GradientLimit(least=least, most=most or least, clock=clock)
        self._sandbox = GradientLimit(least=least, most=most or least, clock=clock)
        self._places = queue
        self._clock = clock
        self._queue = FairQueue()
        self._waiting = 0
        self._in_use = 0.0
        self._large_in_use = 0.0
        self._lasting_s = _USUAL_S
        self._refused = 0

    @property
    def limit(self) -> float:
        """Draws that may be under way at once, as learned by now."""
        return min(self._model.value, self._sandbox.value)

    def figures(self) -> tuple[Figure, ...]:
        """What the gate does, for operators."""
        refused, waiting = float(self._refused), float(len(self._queue))
        return (
            Figure("cap_admission_limit", "gauge", "Draws at once, as learned.", self.limit),
            Figure("cap_admission_in_use", "gauge", "Draws under way, by cost.", self._in_use),
            Figure("cap_admission_waiting", "gauge", "Refinements that wait.", waiting),
            Figure("cap_admission_refused", "counter", "Refinements refused with 429.", refused),
        )

    @asynccontextmanager
    async def place(
        self, tenant: str, *, cost: int, within_s: float, patient: bool = False
    ) -> AsyncIterator[float]:
        """A place for one refinement, once it is its turn; for how many seconds it waited.

        Args:
            tenant: among whom places are shared fairly.
            cost: `cost_of`.
            within_s: when a place is no more of use.
            patient: wait as long as it takes; whoever asks bounds how many do.

        Raises:
            OverloadedError: there is no room to wait, or no place in time. Nothing was spent.
        """
        if self._most is None:
            yield 0.0
            return
        came = self._clock()
        ticket = _Ticket(tenant, float(cost), patient)
        self._queue.push(ticket)
        self._go_on()
        waits = not ticket.turn.done()
        if waits:
            await self._wait(ticket, within_s=within_s)
        began = self._clock()
        try:
            yield began - came if waits else 0.0
        except ModelUnavailableError:
            self._model.refused()
            raise
        except SandboxUnavailableError:
            self._sandbox.refused()
            raise
        finally:
            self._lasting_s += _WEIGHT * (self._clock() - began - self._lasting_s)
            self._give_back(ticket)

    def learn(self, usage: Usage) -> None:
        """Take note of what a refinement spent: seconds a token tell how loaded the model is."""
        if usage.completion_tokens:
            self._model.sample(usage.model_s / usage.completion_tokens, in_use=self._in_use)

    def waited(self, wall_s: float) -> None:
        """Take note of how long a program waited in the sandbox for its turn."""
        self._sandbox.sample(_BEARABLE_S + wall_s, in_use=self._in_use)

    async def _wait(self, ticket: _Ticket, *, within_s: float) -> None:
        if not ticket.patient:
            self._find_room(ticket, within_s=within_s)
        self._waiting += not ticket.patient
        try:
            await asyncio.wait({ticket.turn}, timeout=None if ticket.patient else within_s)
        except asyncio.CancelledError:
            self._give_back(ticket)
            raise
        finally:
            self._waiting -= not ticket.patient
        if not ticket.turn.done() or not ticket.turn.result():
            refusal = self._overloaded(ticket)
            self._give_back(ticket)
            self._refused += 1
            raise refusal

    def _find_room(self, ticket: _Ticket, *, within_s: float) -> None:
        """Let `ticket` wait, or refuse it, or the newest of whoever has most waiting."""
        late = self._expected_s(ticket) > within_s
        if not late and self._waiting < self._places:
            return
        newest = None if late else self._queue.newest_of_longest(than=ticket.tenant)
        if not isinstance(newest, _Ticket):
            refusal = self._overloaded(ticket)
            self._give_back(ticket)
            self._refused += 1
            raise refusal
        self._queue.remove(newest)
        newest.turn.set_result(False)

    def _give_back(self, ticket: _Ticket) -> None:
        """Whatever `ticket` has: a place, or its turn to come."""
        if not ticket.turn.done():
            self._queue.remove(ticket)
        elif ticket.turn.result():
            self._use(ticket, -ticket.held)
        self._go_on()

    def _go_on(self) -> None:
        """Give places to those whose turn it is, while there are any."""
        while (ticket := self._queue.pop(self._room)) is not None:
            assert isinstance(ticket, _Ticket)
            ticket.held = self._counted(ticket)
            self._use(ticket, ticket.held)
            ticket.turn.set_result(True)

    def _room(self, ticket: Waiting) -> Room:
        cost = self._counted(ticket)
        large = not ticket.small and self._large_in_use > 0
        if large and self._large_in_use + cost > self.limit * _LARGE_SHARE:
            return "not_for_large"
        return "no" if self._in_use and self._in_use + cost > self.limit else "yes"

    def _counted(self, ticket: Waiting) -> float:
        return min(ticket.cost, max(1.0, self.limit * _MOST_OF_LIMIT))

    def _use(self, ticket: Waiting, cost: float) -> None:
        self._in_use += cost
        if not ticket.small:
            self._large_in_use += cost

    def _expected_s(self, ticket: _Ticket) -> float:
        """How long `ticket` waits, by how long places were held lately."""
        return self._queue.ahead(ticket.tenant) / self.limit * self._lasting_s

    def _overloaded(self, ticket: _Ticket) -> OverloadedError:
        wait_s = min(_LONGEST_RETRY_S, max(1, math.ceil(self._expected_s(ticket))))
        return OverloadedError(
            "The server has as much under way and waiting as it can take.", retry_after_s=wait_s
        )
