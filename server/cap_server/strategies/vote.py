"""The vote: which answer programs agree on, and whether that is enough to overrule the prior.

Self-consistency (Wang et al. 2022, arXiv 2203.11171) over programs. What is added is the prior's
due: it is overruled only when enough of all programs drawn agree against it. On 660 GSM8K questions
with real programs that gives up a part of what the vote corrects and undoes most of what it breaks
(`docs/benchmarks.md`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cap_server.domain import Candidate, Choice, CriticName, Decision, Problem, Step
from cap_server.drawing import Drawing
from cap_server.strategies.groups import Groups
from cap_server.workbench import Workbench


async def vote(drawing: Drawing, problem: Problem, *, bench: Workbench, overrule: float) -> Choice:
    """Let the programs of `drawing` vote as they come, until no further one can change the choice.

    Args:
        drawing: programs, all drawn in the same way.
        problem: whose prior is weighed against them.
        bench: says which answers are the same.
        overrule: 0 to below 1; to overrule the prior an answer needs more than this share of all
            programs drawn, those that failed or were cut off among them, and more than any other
            answer has. To confirm the prior more than half of them must come to it.
    """
    groups = Groups(bench, problem.prior.answer)
    counted: int | None = None
    async for candidate in drawing:
        await groups.add(candidate)
        bench.note(groups.step())
        if _settled(groups, of=drawing.size, overrule=overrule):
            counted = len(groups.numbers)
            break
    drawn = bench.usage.programs
    if counted is not None and counted < drawn:
        left = (
            f"{drawn - counted} draw{'s' * (drawn - counted > 1)} could no longer change the choice"
        )
        bench.note(Step("cancelled", counted, detail=left))
    sizes = {number: float(len(each)) for number, each in groups.ranked()}
    return choose(groups, problem, sizes, drawn=drawn, counted=counted or drawn, overrule=overrule)


async def weighted_vote(
    candidates: Sequence[Candidate],
    problem: Problem,
    *,
    bench: Workbench,
    overrule: float,
    critic: CriticName,
    required: bool,
) -> Choice:
    """As `vote`, over programs that are all there, each counting as much as `critic` scores it.

    Where the critic cannot be asked, each counts as one.
    """
    candidates = await bench.judged(candidates, problem, critic=critic, required=required)
    groups = Groups(bench, problem.prior.answer)
    for candidate in candidates:
        await groups.add(candidate)
    bench.note(groups.step())
    drawn, answered = bench.usage.programs, sum(number is not None for number in groups.numbers)
    total = sum(_weight(each) for each in candidates if each.answer is not None)
    weights = {
        number: answered * sum(map(_weight, each)) / total if total else 0.0
        for number, each in groups.ranked()
    }
    return choose(groups, problem, weights, drawn=drawn, counted=drawn, overrule=overrule)


def choose(
    groups: Groups,
    problem: Problem,
    weights: Mapping[int, float],
    *,
    drawn: int,
    counted: int,
    overrule: float,
) -> Choice:
    """The choice that `weights` of answers make.

    Args:
        groups: the candidates by answer.
        problem: whose prior is weighed against them.
        weights: by the answer's number; together at most `drawn`.
        drawn: programs drawn, in all.
        counted: those of them that were looked at.
        overrule: see `vote`.
    """
    prior, pattern = problem.prior.answer, groups.pattern(problem.prior.source)
    if not weights:
        return Choice("unresolved", prior, confidence=0.0, pattern=pattern)
    first, *others = sorted(weights, key=lambda number: weights[number], reverse=True)
    leads = not others or weights[first] > weights[others[0]]
    confidence = (weights[first] + 1) / (counted + 2)
    winner, answer = groups.members(first)[0], groups.answer(first)
    if prior is None:
        return Choice("answered", answer, confidence, winner, pattern)
    if first != groups.prior and leads and weights[first] > overrule * drawn:
        return Choice("corrected", answer, confidence, winner, pattern)
    backing = weights.get(0, 0.0)
    decision: Decision = "confirmed" if backing > drawn / 2 else "kept"
    # Laplace's rule of succession: one program of one is 0.67, eight of eight are 0.9.
    confidence = (backing + 1) / (counted + 2)
    return Choice(decision, prior, confidence, next(iter(groups.members(0)), None), pattern)


def _settled(groups: Groups, *, of: int, overrule: float) -> bool:
    """Whether the programs that are still to come cannot change the choice, whatever they say."""
    left = of - len(groups.numbers)
    sizes = [(number, len(each)) for number, each in groups.ranked()]
    if not sizes:
        return False
    (first, most), second = sizes[0], (sizes[1][1] if len(sizes) > 1 else 0)
    if groups.prior is None:
        return most > second + left
    backing = len(groups.members(groups.prior))
    against = max((size for number, size in sizes if number != groups.prior), default=0)
    confirmed = backing > of / 2
    corrected = first != groups.prior and most > overrule * of and most > second + left
    kept = against + left <= overrule * of and backing + left <= of / 2
    return confirmed or corrected or kept


def _weight(candidate: Candidate) -> float:
    return 1.0 if candidate.score is None else candidate.score
