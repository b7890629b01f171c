"""Programs of thought: programs without the CoT, and a vote. Source: arXiv 2211.12588."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from cap_server.domain import Choice, Problem
from cap_server.strategies.parameters import CONFIG, Overrule, Programs
from cap_server.strategies.vote import vote
from cap_server.workbench import Workbench


@dataclass(frozen=True, config=CONFIG)
class Pot:
    source: ClassVar[str] = "PoT, arXiv 2211.12588"
    summary: ClassVar[str] = (
        "Draws programs that do not see the CoT, and takes their most common answer."
    )
    when: ClassVar[str] = "The CoT is so bad that it would mislead, or there is none."

    name: Literal["pot"] = "pot"
    programs: Programs = 8
    overrule: Overrule = 0.75

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        async with bench.drawing(problem.without_prior(), n=self.programs) as drawing:
            return await vote(drawing, problem, bench=bench, overrule=self.overrule)
