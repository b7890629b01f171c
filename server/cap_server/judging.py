"""Asking a critic about many candidates at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from cap_server.domain import Candidate, CriticName, Judgement, Problem, Usage
from cap_server.errors import CriticUnavailableError
from cap_server.ports import Critic

Judged = tuple[tuple[Candidate, ...], Usage, CriticUnavailableError | None]


async def judged(
    candidates: Sequence[Candidate], problem: Problem, *, name: CriticName, critic: Critic | None
) -> Judged:
    """`candidates` with scores, what they cost, and why there are none if the critic is down.

    All are asked about at once, each text once: identical programs have one score. Candidates
    without an answer get none.

    Raises:
        LogprobsUnavailableError: the upstream does not tell what the critic needs.
    """
    if critic is None:
        missing = CriticUnavailableError(f"This server has no {name} critic.")
        return tuple(candidates), Usage(), missing
    asked = {each.text: each for each in candidates if each.answer is not None}
    judging = [critic.judge(problem, each) for each in asked.values()]
    judgements = dict(
        zip(asked, await asyncio.gather(*judging, return_exceptions=True), strict=True)
    )
    usage = Usage()
    for each in judgements.values():
        if isinstance(each, CriticUnavailableError):
            return tuple(candidates), usage, each
        if isinstance(each, BaseException):
            raise each
        usage += each.usage
    scored = tuple(_scored(each, judgements.get(each.text)) for each in candidates)
    return scored, usage, None


def _scored(candidate: Candidate, judgement: Judgement | BaseException | None) -> Candidate:
    if candidate.answer is None or not isinstance(judgement, Judgement):
        return candidate
    return replace(candidate, score=judgement.score)
