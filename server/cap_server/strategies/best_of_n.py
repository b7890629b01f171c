"""The best of n programs by a critic's score. Source: CaP, arXiv 2412.16871."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from cap_server.domain import Choice, Problem
from cap_server.strategies.best import best_program
from cap_server.strategies.parameters import CONFIG, Critic, CriticRequired, Programs
from cap_server.workbench import Workbench


@dataclass(frozen=True, config=CONFIG)
class BestOfN:
    source: ClassVar[str] = "CaP, arXiv 2412.16871"
    summary: ClassVar[str] = (
        "Draws programs given the CoT, and takes the answer of the one that a critic scores best."
    )
    when: ClassVar[str] = (
        "You have a critic that is better than a vote: a reward model, or a CaP model trained to "
        "judge."
    )

    name: Literal["best_of_n"] = "best_of_n"
    programs: Programs = 8
    critic: Critic = "generative"
    critic_required: CriticRequired = False

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        given = await bench.with_cot(problem)
        likely = self.critic == "likelihood"
        programs = await bench.programs(given, n=self.programs, logprobs=likely)
        return await best_program(
            programs, problem, bench=bench, critic=self.critic, required=self.critic_required
        )
