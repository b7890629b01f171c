"""Steady load through the shipped client: refinements, streams and batches, each one checked."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cap_client import (
    AsyncClient,
    Problem,
    Refinement,
    RefineOptions,
    Retries,
    StatusError,
    UnreachableError,
)
from cap_client import CapError as ClientError
from tests.chaos import verdicts
from tests.chaos.questions import KINDS, Kind, Question

DEADLINE_S = 20.0
_ANSWERED_S = 90.0
"""After which a request counts as never answered. Its deadline is far below."""

_ONCE = Retries(tries=1)
PROGRAMS = 4


@dataclass
class Tally:
    """What became of the requests under one fault.

    Attributes:
        by: how many came to what: a decision, a status, `broken` where a connection broke.
        wrong: violations, in words.
    """

    sent: int = 0
    answered: int = 0
    by: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def violated(self, *what: str) -> None:
        self.wrong += what


@dataclass(frozen=True)
class Terms:
    """Attributes: kinds: of questions; broken: whether connections may break before the answer;
    exact: whether every request must succeed, with the decision that is its due.
    """

    kinds: tuple[Kind, ...] = KINDS
    broken: bool = False
    exact: bool = False


class Load:
    """So many requests at once, as long as `running` lasts."""

    def __init__(self, url: str, *, at_once: int, pause_s: float = 0.1) -> None:
        self._url = url
        self._at_once = at_once
        self._pause_s = pause_s
        self._numbers = itertools.count()

    @asynccontextmanager
    async def running(self, terms: Terms) -> AsyncIterator[Tally]:
        """Load while the context lasts; leaving waits for the answers that are still to come."""
        tally, stop, began = Tally(), asyncio.Event(), time.monotonic()
        async with AsyncClient(self._url, retries=_ONCE, timeout_s=_ANSWERED_S) as client:
            workers = [
                asyncio.create_task(self._work(client, terms, tally, stop))
                for _ in range(self._at_once)
            ]
            try:
                yield tally
            finally:
                stop.set()
                for outcome in await asyncio.gather(*workers, return_exceptions=True):
                    if isinstance(outcome, BaseException):
                        tally.violated(f"the load itself failed: {outcome!r}")
                tally.seconds = time.monotonic() - began

    async def send(self, count: int, terms: Terms) -> Tally:
        """`count` requests, as fast as they are answered."""
        async with self.running(terms) as tally:
            while tally.sent < count:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.2)
        return tally

    async def _work(
        self, client: AsyncClient, terms: Terms, tally: Tally, stop: asyncio.Event
    ) -> None:
        while not stop.is_set():
            number = next(self._numbers)
            question = Question(terms.kinds[number % len(terms.kinds)], number % 997)
            tally.sent += 1
            try:
                async with asyncio.timeout(_ANSWERED_S):
                    await self._one(client, number, question, terms, tally)
                    tally.answered += 1
            except TimeoutError:
                tally.by["none"] += 1
                tally.violated(f"no answer within {_ANSWERED_S:.0f} s")
            except StatusError as error:
                tally.answered += 1
                tally.by[str(error.status or "error in stream")] += 1
                tally.violated(*verdicts.of_refusal(error))
                if terms.exact:
                    tally.violated(f"{error.status} `{error.code}`, where nothing was in the way")
            except UnreachableError as error:
                tally.by["broken"] += 1
                if terms.broken:
                    tally.answered += 1  # its client was told: the connection ended
                else:
                    tally.violated(f"a connection broke: {error}")
            except ClientError as error:
                tally.violated(f"no valid answer: {error!r}")
            await asyncio.sleep(self._pause_s * random.random() * 2)

    async def _one(
        self, client: AsyncClient, number: int, question: Question, terms: Terms, tally: Tally
    ) -> None:
        strategy = ("majority", "majority", "adaptive", "single")[number // 4 % 4]
        options = _options(question, number, strategy)
        if number % 23 == 22:
            await self._batch(client, number, question, terms, tally)
            return
        if number % 5 == 4:
            found = await _streamed(client, question, options)
        else:
            found = await client.refine(question.text, **options)
        _judge(question, strategy, found, terms=terms, tally=tally)

    async def _batch(
        self, client: AsyncClient, number: int, question: Question, terms: Terms, tally: Tally
    ) -> None:
        problems = [Question(question.kind, question.number + each) for each in range(4)]
        given: list[Problem] = [
            {"question": each.text, "cot": each.cot, "source": "chaos"} for each in problems
        ]
        shared = _options(question, number, "majority")
        batch = client.batch(
            given,
            strategy=shared["strategy"],
            sampling=shared["sampling"],
            budget=shared["budget"],
            limits=shared["limits"],
            include=shared["include"],
        )
        told = set[int]()
        async for item in batch:
            told.add(item.index)
            if item.refinement is not None:
                asked = problems[item.index]
                _judge(asked, "majority", item.refinement, terms=terms, tally=tally)
            elif item.error is not None and terms.exact:
                tally.violated(f"{item.status} `{item.error.code}` in a batch")
        if told != set(range(4)) or batch.summary is None:
            tally.violated("a batch that is not whole, and does not say so")


def _options(question: Question, number: int, strategy: str) -> RefineOptions:
    voted = {"name": "majority", "programs": PROGRAMS, "overrule": verdicts.OVERRULE}
    return {
        "cot": question.cot,
        "source": "chaos",
        "strategy": voted if strategy == "majority" else strategy,
        "sampling": {"seed": number},
        "budget": {"deadline_s": DEADLINE_S},
        "limits": {"wall_s": 2.0, "memory_bytes": 256 * 1024**2},
        "include": ["candidates"],
    }


async def _streamed(client: AsyncClient, question: Question, options: RefineOptions) -> Refinement:
    async with client.refine_stream(question.text, **options) as events:
        last = [event async for event in events][-1]
    if not isinstance(last, Refinement):
        raise ClientError("a stream that ended without its decision")
    return last


def _judge(
    question: Question, strategy: str, found: Refinement, *, terms: Terms, tally: Tally
) -> None:
    tally.by[found.decision] += 1
    wrong = verdicts.of_refinement(question, strategy, PROGRAMS, found)
    if terms.exact and strategy == "majority":
        wrong += verdicts.undisturbed(question, found)
    tally.violated(*(f"{question.kind} {question.number}, {strategy}: {each}" for each in wrong))
