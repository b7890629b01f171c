"""Rows through a running server, several at once, under each strategy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cap_client import AsyncClient, ServerError, StatusError
from cap_client import CapError as ClientError
from cap_server.domain import Answer
from cap_server.evaluation.journal import Journal, Outcome, key_of
from cap_server.evaluation.rows import EvaluationError, Row
from cap_server.ports import Equality


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is measured.

    Attributes:
        strategies: by the label that the table shows, as the API takes them.
        at_once: requests under way at once.
        seed: sent with every request; None sends none.
    """

    rows: Sequence[Row]
    strategies: dict[str, dict[str, Any]]
    at_once: int = 8
    seed: int | None = None

    def keys(self, label: str) -> list[str]:
        """The journal's keys of a strategy's outcomes."""
        strategy = self.strategies[label]
        return [key_of(row, strategy, seed=self.seed) for row in self.rows]


async def evaluate(
    evaluation: Evaluation,
    *,
    client: AsyncClient,
    equality: Equality,
    journal: Journal,
    advance: Callable[[], None],
) -> None:
    """Measure what `journal` does not have yet.

    Args:
        evaluation: what is measured.
        client: of the server; it asks an overloaded one again.
        equality: says whether an answer is right.
        journal: where outcomes go as they come.
        advance: called once for each row and strategy, those that were known among them.

    Raises:
        EvaluationError: the server cannot be reached, or refuses what is asked.
    """
    gate = asyncio.Semaphore(evaluation.at_once)

    async def one(row: Row, strategy: dict[str, Any], key: str) -> None:
        async with gate:
            if key not in journal.outcomes:
                journal.add(await _outcome(row, strategy, key, evaluation, client, equality))
            advance()

    try:
        async with asyncio.TaskGroup() as group:
            for label, strategy in evaluation.strategies.items():
                for row, key in zip(evaluation.rows, evaluation.keys(label), strict=True):
                    group.create_task(one(row, strategy, key))
    except* EvaluationError as errors:
        raise errors.exceptions[0] from None


async def _outcome(
    row: Row,
    strategy: dict[str, Any],
    key: str,
    evaluation: Evaluation,
    client: AsyncClient,
    equality: Equality,
) -> Outcome:
    asked = {**row.request(), "strategy": strategy}
    if evaluation.seed is not None:
        asked["sampling"] = {"seed": evaluation.seed}
    try:
        refinement = await client.refine(**asked)
    except ServerError as error:
        return Outcome(key, None, failure=str(error))
    except ClientError as error:
        raise EvaluationError(_told(error, client)) from error
    original = refinement.original_answer
    return Outcome(
        key,
        refinement.decision,
        right=await _right(refinement.answer, row, equality),
        prior_right=None if original is None else await _right(original, row, equality),
        confidence=refinement.confidence,
        programs=refinement.usage.programs,
        tokens=refinement.usage.completion_tokens,
    )


def _told(error: ClientError, client: AsyncClient) -> str:
    if isinstance(error, StatusError):
        return str(error)
    return (
        f"The server at {client.base_url} cannot be reached ({error}). "
        "Is `cap up` running? The same command goes on from here."
    )


async def _right(answer: str | None, row: Row, equality: Equality) -> bool:
    if answer is None:
        return False
    truth = Answer(str(row.answer))
    if row.choices:
        truth = await equality.option(truth, row.choices) or truth
    return await equality.same(Answer(answer), truth)
