"""From candidates to a choice: the most common answer, weighed against the prior.

The vote is self-consistency's (Wang et al. 2022, arXiv 2203.11171) over programs. What is added is
the prior's due: it is overruled only when enough of all programs drawn agree against it. On 660
GSM8K questions with real programs that gives up a part of what the vote corrects and undoes most of
what it breaks (`docs/benchmarks.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cap_server.domain import Answer, Candidate, Choice, Decision
from cap_server.workbench import Workbench

Group = list[Candidate]


async def vote(
    candidates: Sequence[Candidate], prior: Answer | None, *, bench: Workbench, overrule: float
) -> Choice:
    """Choose among `candidates`.

    Args:
        candidates: programs, in the order of their draws.
        prior: the answer that the caller has, or None.
        bench: says which answers are the same.
        overrule: 0 to below 1; to overrule the prior an answer needs more than this share of all
            programs drawn, those that failed or were cut off among them, and more than any other
            answer has. To confirm the prior more than half of them must come to it.
    """
    groups, drawn = await _groups(candidates, bench=bench), bench.usage.programs
    if not groups:
        return Choice("unresolved", prior, confidence=0.0)
    if prior is None:
        return _answered(groups[0], drawn=drawn)
    backing = await _backing(groups, prior, bench=bench)
    against = groups[0] is not backing and _leads(groups)
    if against and len(groups[0]) > overrule * drawn:
        return replace(_answered(groups[0], drawn=drawn), decision="corrected")
    return _upheld(prior, backing, drawn=drawn)


async def _groups(candidates: Sequence[Candidate], *, bench: Workbench) -> list[Group]:
    """Candidates with the same answer together; most first, then earliest first."""
    groups: list[Group] = []
    for candidate in candidates:
        if candidate.answer is None:
            continue
        group = await _backing(groups, candidate.answer, bench=bench)
        if not group:
            groups.append(group)
        group.append(candidate)
    return sorted(groups, key=len, reverse=True)


async def _backing(groups: Sequence[Group], answer: Answer, *, bench: Workbench) -> Group:
    """The group whose answer is `answer`; a new, empty one when there is none."""
    for group in groups:
        first = group[0].answer
        if first is not None and await bench.same(first, answer):
            return group
    return []


def _leads(groups: Sequence[Group]) -> bool:
    return len(groups) == 1 or len(groups[0]) > len(groups[1])


def _answered(group: Group, *, drawn: int) -> Choice:
    return Choice("answered", group[0].answer, _confidence(len(group), drawn), group[0])


def _upheld(prior: Answer, backing: Group, *, drawn: int) -> Choice:
    decision: Decision = "confirmed" if len(backing) > drawn / 2 else "kept"
    winner = backing[0] if backing else None
    return Choice(decision, prior, _confidence(len(backing), drawn), winner)


def _confidence(votes: int, drawn: int) -> float:
    """Laplace's rule of succession: one program of one is 0.67, eight of eight are 0.9."""
    return (votes + 1) / (drawn + 2)
