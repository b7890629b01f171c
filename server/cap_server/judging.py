"""Asking a critic about many candidates at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from cap_server.domain import Candidate, CriticName, Problem, Usage
from cap_server.errors import CriticUnavailableError
from cap_server.ports import Critic

Judged = tuple[Mapping[str, float], Usage, CriticUnavailableError | None]


async def judged(
    candidates: Sequence[Candidate], problem: Problem, *, name: CriticName, critic: Critic | None
) -> Judged:
    """Scores by text, what they cost, and why there are none if the critic is down.

    All are asked about at once, each text once: identical programs have one score. Candidates
    without an answer get none.

    Raises:
        LogprobsUnavailableError: the upstream does not tell what the critic needs.
    """
    asked = {each.text: each for each in candidates if each.answer is not None}
    if not asked:
        return {}, Usage(), None
    if critic is None:
        return {}, Usage(), CriticUnavailableError(f"This server has no {name} critic.")
    judging = [critic.judge(problem, each) for each in asked.values()]
    scores, usage = dict[str, float](), Usage()
    for text, outcome in zip(
        asked, await asyncio.gather(*judging, return_exceptions=True), strict=True
    ):
        if isinstance(outcome, CriticUnavailableError):
            return {}, usage, outcome
        if isinstance(outcome, BaseException):
            raise outcome
        scores[text] = outcome.score
        usage += outcome.usage
    return scores, usage, None
