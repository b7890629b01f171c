"""CoTs and programs in turn until one of each agrees. Sources: arXiv 2604.17433, 2305.11860."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from cap_server.domain import Candidate, Choice, Problem, Step
from cap_server.strategies.groups import Groups
from cap_server.strategies.parameters import CONFIG, CriticRequired, MaxPrograms, Weights
from cap_server.strategies.vote import choose
from cap_server.whole import ALSO_AS_FLOAT
from cap_server.workbench import Workbench

Lead = Annotated[
    int,
    Field(
        strict=True,
        ge=1,
        le=64,
        description="An answer wins when it has this many more programs than any other.",
    ),
    ALSO_AS_FLOAT,
]


@dataclass(frozen=True, config=CONFIG)
class Agreement:
    source: ClassVar[str] = "CoT-PoT ensembling, arXiv 2604.17433; Adaptive-Consistency, 2305.11860"
    summary: ClassVar[str] = (
        "Draws programs one at a time, and CoTs in between where a model writes them; stops when a "
        "CoT and a program agree, or one answer leads by `lead` programs."
    )
    when: ClassVar[str] = (
        "You want to spend little and have no idea how good the CoT's source is; it does not "
        "protect a strong one as `adaptive` does."
    )

    name: Literal["agreement"] = "agreement"
    max_programs: MaxPrograms = 8
    lead: Lead = 3
    weights: Weights = None
    critic_required: CriticRequired = False

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        given = await bench.with_cot(problem)
        groups = Groups(bench, problem.prior.answer)
        said = set() if groups.prior is None else {groups.prior}
        if given is not problem and given.prior.answer is not None:
            said.add(await groups.number(given.prior.answer))
        why = f"{self.max_programs} programs drawn"
        for _ in range(self.max_programs):
            candidate = await self._next(given, bench)
            if candidate is None:
                why = bench.stopped_by or "a draw failed"
                if bench.stopped_by:
                    break
                continue
            number = await groups.add(candidate)
            if number in said:
                why = "a CoT and a program agree"
                break
            if await self._leads(groups, problem, bench):
                why = f"an answer leads by {self.lead} programs"
                break
            said |= await self._another_cot(problem, groups, bench)
        bench.note(groups.step(), Step("decided", len(groups.numbers), detail=why))
        return await self._chosen(groups, problem, bench, agreed=said)

    async def _next(self, given: Problem, bench: Workbench) -> Candidate | None:
        likely = self.weights == "likelihood"
        async with bench.drawing(given, n=1, several=True, logprobs=likely) as drawing:
            return next(iter([candidate async for candidate in drawing]), None)

    async def _another_cot(self, problem: Problem, groups: Groups, bench: Workbench) -> set[int]:
        """The number of a further CoT's answer, where a model writes CoTs."""
        async with bench.drawing_cots(problem, n=1, several=True) as drawing:
            answers = [cot.answer async for cot in drawing if cot.answer is not None]
        return {await groups.number(answer) for answer in answers}

    async def _leads(self, groups: Groups, problem: Problem, bench: Workbench) -> bool:
        weights = sorted((await self._weights(groups, problem, bench)).values(), reverse=True)
        return bool(weights) and weights[0] - sum(weights[1:2]) >= self.lead

    async def _weights(
        self, groups: Groups, problem: Problem, bench: Workbench
    ) -> dict[int, float]:
        """By answer, its programs: as many as they are, or by their scores."""
        if self.weights is None:
            return {number: float(len(each)) for number, each in groups.ranked()}
        weights = {}
        for number, each in groups.ranked():
            scored = await bench.judged(
                each, problem, critic=self.weights, required=self.critic_required
            )
            weights[number] = sum(1.0 if one.score is None else one.score for one in scored)
        return weights

    async def _chosen(
        self, groups: Groups, problem: Problem, bench: Workbench, *, agreed: set[int]
    ) -> Choice:
        weights = await self._weights(groups, problem, bench)
        drawn = max(1, len(groups.numbers))
        # A CoT's word is a vote too: without it, one program that agrees would not be a majority.
        backed = agreed & weights.keys()
        for number in backed:
            weights[number] += 1
        first = next(iter(weights), None)
        if first is not None and not backed and weights[first] > 1:
            weights[first] += (
                0.5  # no program backs a CoT: the earliest of equals beats its one voice
            )
        return choose(
            groups,
            problem,
            weights,
            drawn=drawn + len(agreed),
            counted=drawn + len(agreed),
            overrule=0,
        )
