"""Puts items to the server, and notes what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from cap_server.app import create_app
from cap_server.domain import Answer
from cap_server.ports import Equality
from cap_server.settings import Settings
from cap_training.budget import Clock, spoken
from cap_training.data.journal import Journal
from cap_training.evaluate.items import Item
from cap_training.evaluate.systems import SYSTEMS
from cap_training.failures import TrainingError

_SAY_EVERY_S = 10.0
_DEADLINE_S = 300.0
_WAITS_S = (0.5, 2.0, 10.0)
"""Before an item is asked again on which the model's server broke off."""


@dataclass(frozen=True)
class Outcome:
    """What a strategy made of an item.

    Attributes:
        right: whether the answer is the true one.
        copied: whether a program came to the wrong CoT's answer: the model did not correct.
        programs: how many were drawn.
    """

    key: str
    system: str
    right: bool
    copied: bool
    decision: str
    answer: str | None
    programs: int


@asynccontextmanager
async def server(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The CaP server in this process, and a client of it."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        timeout = httpx.Timeout(2 * _DEADLINE_S)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=timeout
        ) as client:
            yield client


async def offered(client: httpx.AsyncClient, wanted: Sequence[str]) -> list[str]:
    """Those of the systems `wanted` whose strategies the server has."""
    listed = (await client.get("/v1/strategies")).raise_for_status().json()["data"]
    names = {strategy["name"] for strategy in listed}
    return [name for name in wanted if SYSTEMS[name]["name"] in names]


@dataclass
class Asker:
    """Asks many items at once.

    Attributes:
        budget_s: when no more are begun; None: all are.
    """

    client: httpx.AsyncClient
    equality: Equality
    journal: Journal
    say: Callable[[str], None]
    budget_s: float | None = None
    at_once: int = 32
    seed: int = 0

    async def ask(self, items: Sequence[Item], systems: Sequence[str]) -> list[Outcome]:
        """The outcomes, those that the journal has from an earlier run among them."""
        done = [Outcome(**line) for line in self.journal.lines]
        known = {(outcome.key, outcome.system) for outcome in done}
        left = [(i, s) for i in items for s in systems if (i.key, s) not in known]
        waiting, clock = iter(left), Clock()
        asked, said_s = 0, 0.0

        async def worker() -> None:
            nonlocal asked, said_s
            for item, system in waiting:
                if self.budget_s is not None and clock.elapsed_s() > self.budget_s:
                    return
                outcome = await self._outcome(item, system)
                self.journal.write(vars(outcome))
                done.append(outcome)
                asked += 1
                now = clock.elapsed_s()
                if now - said_s > _SAY_EVERY_S:
                    said_s, rest_s = now, now / asked * (len(left) - asked)
                    rest_s = min(rest_s, (self.budget_s or rest_s + now) - now)
                    self.say(f"  {asked:,} of {len(left):,} asked, {spoken(rest_s)} left")

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.at_once):
                    group.create_task(worker())
        except* TrainingError as failures:
            raise failures.exceptions[0] from None
        wanted = {item.key for item in items}
        return [each for each in done if each.key in wanted and each.system in systems]

    async def _outcome(self, item: Item, system: str) -> Outcome:
        body: dict[str, Any] = {
            "question": item.question,
            "strategy": dict(SYSTEMS[system]),
            "sampling": {"seed": self.seed},
            "budget": {"deadline_s": _DEADLINE_S},
        }
        if item.cot is not None:
            body["cot"] = item.cot
        for wait_s in (*_WAITS_S, None):
            response = await self.client.post("/v1/refine", json=body)
            if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR or wait_s is None:
                break
            await asyncio.sleep(wait_s)
        if response.status_code != httpx.codes.OK:
            raise TrainingError(f"The server refused an item: {response.text[:300]}")
        found = response.json()
        answer = found["answer"]
        truth = Answer(item.answer)
        right = answer is not None and await self.equality.same(Answer(answer), truth)
        copied = item.condition == "wrong" and found["decision"] == "confirmed" and not right
        spent = found["usage"]["programs"]
        return Outcome(item.key, system, right, copied, found["decision"], answer, spent)
