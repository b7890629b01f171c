"""Programs given the CoT, and a vote. Source: self-consistency, arXiv 2203.11171."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from cap_server.domain import Choice, Problem
from cap_server.strategies.parameters import Overrule, Programs
from cap_server.strategies.vote import vote
from cap_server.workbench import Workbench


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Majority:
    source: ClassVar[str] = "Self-consistency, arXiv 2203.11171"
    summary: ClassVar[str] = (
        "Draws programs given the CoT; their most common answer overrules the prior when enough "
        "of them agree."
    )
    when: ClassVar[str] = (
        "A good default: a disagreement among programs keeps the prior instead of breaking it."
    )

    name: Literal["majority"] = "majority"
    programs: Programs = 8
    overrule: Overrule = 0.75

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        programs = await bench.programs(await bench.with_cot(problem), n=self.programs)
        return await vote(programs, problem.prior.answer, bench=bench, overrule=self.overrule)
