"""Best-of-N twice: the best CoT first, then the best program for it.

Source: CaP, arXiv 2412.16871.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from cap_server.domain import Candidate, Choice, Prior, Problem
from cap_server.strategies.best import best_program, highest, note_scores
from cap_server.strategies.parameters import CONFIG, CoTCritic, CoTs, CriticRequired, Programs
from cap_server.workbench import Workbench


@dataclass(frozen=True, config=CONFIG)
class BoNBoN:
    source: ClassVar[str] = "CaP, arXiv 2412.16871 (best-of-N, twice)"
    summary: ClassVar[str] = (
        "Draws CoTs and keeps the one that a critic scores highest, the request's own among them; "
        "then draws programs given it, and takes the answer of the best."
    )
    when: ClassVar[str] = (
        "Hard questions, a good critic and tokens to spend; it needs a model that writes CoTs "
        "(CAP_COT_MODEL) to be more than best_of_n."
    )

    name: Literal["bonbon"] = "bonbon"
    cots: CoTs = 4
    programs: Programs = 4
    critic: CoTCritic = "generative"
    critic_required: CriticRequired = False

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        given = await self._given(problem, bench)
        likely = self.critic == "likelihood"
        programs = await bench.programs(given, n=self.programs, logprobs=likely)
        return await best_program(
            programs, problem, bench=bench, critic=self.critic, required=self.critic_required
        )

    async def _given(self, problem: Problem, bench: Workbench) -> Problem:
        """`problem` with the best CoT."""
        drawn = await bench.cots(problem, n=self.cots, logprobs=self.critic == "likelihood")
        cots = [*_own(problem.prior), *drawn]
        if len(cots) > 1:
            cots = list(
                await bench.judged(cots, problem, critic=self.critic, required=self.critic_required)
            )
            note_scores(cots, bench)
        best = highest(cots) or next(iter(cots), None)
        return problem if best is None else problem.given(best.text)


def _own(prior: Prior) -> list[Candidate]:
    """The CoT that the request carries, as a candidate."""
    if prior.cot is None:
        return []
    return [Candidate("cot", -1, prior.cot, prior.answer)]
