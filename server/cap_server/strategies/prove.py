"""Programs as verifiers of CoTs: a majority of those that hold. Source: PROVE, arXiv 2410.12608."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from cap_server.domain import Candidate, Choice, Problem, Step
from cap_server.strategies.groups import Groups
from cap_server.strategies.parameters import CONFIG, CoTs
from cap_server.strategies.vote import choose
from cap_server.workbench import Workbench


@dataclass(frozen=True, config=CONFIG)
class Prove:
    source: ClassVar[str] = "PROVE, arXiv 2410.12608"
    summary: ClassVar[str] = (
        "Draws CoTs and one program for each; the majority answer of those CoTs wins whose program "
        "comes to the same."
    )
    when: ClassVar[str] = (
        "The model that writes CoTs is better than the one that writes programs; it needs "
        "CAP_COT_MODEL, else only the request's own CoT is verified."
    )

    name: Literal["prove"] = "prove"
    cots: CoTs = 8

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        groups, verified = Groups(bench, problem.prior.answer), list[Candidate]()
        cots, programs = await self._pairs(problem, bench)
        for cot, program in zip(cots, programs, strict=False):
            if cot.answer and program.answer and await bench.same(cot.answer, program.answer):
                verified.append(program)
        for program in verified:
            await groups.add(program)
        bench.note(groups.step())
        detail = f"{len(verified)} of {len(cots)} CoTs hold"
        bench.note(Step("decided", len(programs), detail=detail))
        choice = await self._chosen(problem, cots, groups, bench)
        # Only programs that agree with their CoT are counted: nothing is learned from that.
        return replace(choice, pattern=None)

    async def _pairs(
        self, problem: Problem, bench: Workbench
    ) -> tuple[list[Candidate], list[Candidate]]:
        """CoTs, the request's own first, and the program of each."""
        prior = problem.prior
        cots = [] if prior.cot is None else [Candidate("cot", -1, prior.cot, prior.answer)]
        async with (
            bench.drawing(problem, n=0, several=False) as programs,
            bench.drawing_cots(problem, n=self.cots) as drawing,
        ):
            for cot in cots:
                programs.add(problem.given(cot.text))
            async for cot in drawing:
                # A program starts as soon as its CoT is there, while others are being written.
                if programs.add(problem.given(cot.text)):
                    cots.append(cot)
            of = {candidate.index: candidate async for candidate in programs}
        first = min(of, default=0)
        missing = Candidate("program", -1, "")
        return cots, [of.get(first + at, missing) for at in range(len(cots))]

    async def _chosen(
        self, problem: Problem, cots: Sequence[Candidate], groups: Groups, bench: Workbench
    ) -> Choice:
        sizes = {number: float(len(each)) for number, each in groups.ranked()}
        held, prior = len(groups.numbers), problem.prior.answer
        if sizes:
            return choose(groups, problem, sizes, drawn=held, counted=len(cots), overrule=0)
        if prior is not None and any(each.answer for each in bench.candidates):
            return Choice("kept", prior, confidence=1 / (len(cots) + 2))
        # No CoT holds and there is nothing to keep: what most CoTs say, with the doubt that is due.
        for cot in cots:
            await groups.add(cot)
        votes = {number: float(len(each)) for number, each in groups.ranked()}
        return choose(groups, problem, votes, drawn=len(cots), counted=2 * len(cots), overrule=0)
