"""A program, then revisions that see what became of it. Source: ToolACE-R, arXiv 2504.01400."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from cap_server.domain import Candidate, Choice, Problem, Step
from cap_server.strategies.groups import Groups
from cap_server.strategies.parameters import CONFIG
from cap_server.strategies.vote import choose
from cap_server.whole import ALSO_AS_FLOAT
from cap_server.workbench import Workbench

Revisions = Annotated[
    int,
    Field(strict=True, ge=0, le=16, description="How often the model may revise its program."),
    ALSO_AS_FLOAT,
]


@dataclass(frozen=True, config=CONFIG)
class Iterate:
    source: ClassVar[str] = "ToolACE-R, arXiv 2504.01400"
    summary: ClassVar[str] = (
        "Draws a program and shows the model its result or error, to revise it; stops when the "
        "program repeats or the model says that it is done, and takes the answer most of them came "
        "to."
    )
    when: ClassVar[str] = (
        "Programs fail to run rather than go wrong, with a model that can read a traceback."
    )

    name: Literal["iterate"] = "iterate"
    revisions: Revisions = 3

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        given = await bench.with_cot(problem)
        made, why = list(await bench.programs(given, n=1)), "no more revisions"
        for _ in range(self.revisions):
            if not made:
                break
            revised = await bench.revision(given, of=made[-1])
            if revised is None:
                why = bench.stopped_by or "a draw failed"
                break
            if not revised.text or revised.text in {each.text for each in made}:
                why = "the program repeats" if revised.text else "the model is done"
                break
            made.append(revised)
        bench.note(Step("decided", len(made), detail=why))
        return await _best(made, problem, bench)


async def _best(made: list[Candidate], problem: Problem, bench: Workbench) -> Choice:
    """The answer that most versions came to; among equals the latest, which saw the most."""
    groups = Groups(bench, problem.prior.answer)
    for candidate in made:
        await groups.add(candidate)
    bench.note(groups.step())
    sizes = {number: float(len(each)) for number, each in groups.ranked()}
    latest = next((number for number in reversed(groups.numbers) if number is not None), None)
    if latest is not None and sizes[latest] == max(sizes.values()):
        sizes[latest] += 0.5
    choice = choose(groups, problem, sizes, drawn=len(made), counted=len(made), overrule=0)
    # Versions of one program are no independent witnesses: nothing is learned from them.
    return replace(choice, pattern=None)
