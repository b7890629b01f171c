"""One program given the CoT. Source: CaP, arXiv 2412.16871."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from cap_server.domain import Choice, Problem
from cap_server.strategies.parameters import CONFIG
from cap_server.strategies.vote import vote
from cap_server.workbench import Workbench


@dataclass(frozen=True, config=CONFIG)
class Single:
    source: ClassVar[str] = "CaP, arXiv 2412.16871"
    summary: ClassVar[str] = "Draws one program given the CoT, and takes its answer."
    when: ClassVar[str] = (
        "The cheapest and fastest; the program's word is final, so use it with a strong CaP model."
    )

    name: Literal["single"] = "single"

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        async with bench.drawing(await bench.with_cot(problem), n=1) as drawing:
            return await vote(drawing, problem, bench=bench, overrule=0)
