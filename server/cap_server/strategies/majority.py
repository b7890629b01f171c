"""Programs given the CoT, and a vote. Source: self-consistency, arXiv 2203.11171."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from cap_server.domain import Choice, Problem
from cap_server.strategies.parameters import CONFIG, CriticRequired, Overrule, Programs, Weights
from cap_server.strategies.vote import vote, weighted_vote
from cap_server.workbench import Workbench


@dataclass(frozen=True, config=CONFIG)
class Majority:
    source: ClassVar[str] = "Self-consistency, arXiv 2203.11171"
    summary: ClassVar[str] = (
        "Draws programs given the CoT; their most common answer overrules the prior when enough "
        "of them agree."
    )
    when: ClassVar[str] = (
        "You want a fixed number of programs and a plain rule: a disagreement among programs keeps "
        "the prior instead of breaking it."
    )

    name: Literal["majority"] = "majority"
    programs: Programs = 8
    overrule: Overrule = 0.75
    weights: Weights = None
    critic_required: CriticRequired = False

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        given = await bench.with_cot(problem)
        if self.weights is None:
            async with bench.drawing(given, n=self.programs) as drawing:
                return await vote(drawing, problem, bench=bench, overrule=self.overrule)
        likely = self.weights == "likelihood"
        candidates = await bench.programs(given, n=self.programs, logprobs=likely)
        return await weighted_vote(
            candidates,
            problem,
            bench=bench,
            overrule=self.overrule,
            critic=self.weights,
            required=self.critic_required,
        )
