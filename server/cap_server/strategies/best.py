"""The best of several candidates by a critic's score."""

from __future__ import annotations

from collections.abc import Sequence

from cap_server.domain import Candidate, Choice, CriticName, Decision, Problem, Step
from cap_server.strategies.groups import Groups
from cap_server.strategies.vote import choose
from cap_server.workbench import Workbench


async def best_program(
    candidates: Sequence[Candidate],
    problem: Problem,
    *,
    bench: Workbench,
    critic: CriticName,
    required: bool,
) -> Choice:
    """The answer of the program with the highest score; the earliest of equals.

    Programs without an answer are out. Where the critic cannot be asked, the most common answer.

    Args:
        candidates: programs, in the order of their draws.
        problem: whose prior the answer is compared with.
        bench: scores, and says which answers are the same.
        critic: who scores.
        required: fail where it cannot be asked.
    """
    scored = await bench.judged(candidates, problem, critic=critic, required=required)
    groups = Groups(bench, problem.prior.answer)
    for candidate in scored:
        await groups.add(candidate)
    bench.note(groups.step())
    winner = highest(scored)
    if winner is None:
        sizes = {number: float(len(each)) for number, each in groups.ranked()}
        drawn = bench.usage.programs
        return choose(groups, problem, sizes, drawn=drawn, counted=drawn, overrule=0)
    note_scores(scored, bench)
    pattern = groups.pattern(problem.prior.source)
    unchanged = winner in groups.members(groups.prior)
    decision: Decision = "confirmed" if unchanged else "corrected"
    if problem.prior.answer is None:
        decision = "answered"
    answer = problem.prior.answer if unchanged else winner.answer
    return Choice(decision, answer, winner.score or 0.0, winner, pattern)


def highest(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate with the highest score, the first of equals; None where none has a score."""
    scored = [each for each in candidates if each.score is not None]
    return max(scored, key=lambda each: each.score or 0.0, default=None)


def note_scores(candidates: Sequence[Candidate], bench: Workbench) -> None:
    """Put the scores on the trace."""
    weights = tuple(
        (each.answer.text, each.score)
        for each in candidates
        if each.answer is not None and each.score is not None
    )
    kind = candidates[0].kind if candidates else "program"
    bench.note(Step("score", bench.usage.programs, weights, detail=f"of each {kind}"))
