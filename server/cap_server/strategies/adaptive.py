"""Programs, few at a time, until one answer is probable enough.

The posterior over answers weighs the prior's source and the model's programs by how good they have
proved to be (`cap_server.trust`).
Sources: Dawid & Skene 1979; Adaptive-Consistency, arXiv 2305.11860.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from cap_server.domain import Choice, Decision, Pattern, Problem, Step
from cap_server.strategies.groups import Groups
from cap_server.strategies.parameters import CONFIG, MaxPrograms
from cap_server.trust import Estimates
from cap_server.workbench import Workbench

_FUTILE = 3
"""If not even this many more programs with one voice could change the choice, none are drawn: on
the recorded GSM8K answers a fifth fewer draws for a tenth of a point."""

_EXPLORED = 8
"""On one question in so many a prior that no program backs is not taken at its source's word: a
source that is trusted too much would never be found out, because nothing was drawn against it.
Which questions, their text decides, so that a request repeats exactly."""

Confidence = Annotated[
    float,
    Field(
        strict=True,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="Stop as soon as an answer is this probable.",
    ),
]


@dataclass(frozen=True, config=CONFIG)
class Adaptive:
    source: ClassVar[str] = "Dawid & Skene 1979; Adaptive-Consistency, arXiv 2305.11860"
    summary: ClassVar[str] = (
        "Draws programs given the CoT, few at a time, until an answer is probable enough, weighing "
        "the CoT's source and the programs by how good they have proved to be."
    )
    when: ClassVar[str] = (
        "The default: it spends little and does not drag a good source down. Name the `source` of "
        "each CoT, so that it can learn how good that is."
    )

    name: Literal["adaptive"] = "adaptive"
    max_programs: MaxPrograms = 12
    confidence: Confidence = 0.78

    async def refine(self, problem: Problem, bench: Workbench) -> Choice:
        given = await bench.with_cot(problem)
        groups = Groups(bench, given.prior.answer)
        explored, at = _is_explored(problem), self.confidence
        weighing = _Weighing(groups, given.prior.source, bench.trust, at=at, explored=explored)
        left, why = self.max_programs, f"{self.max_programs} programs drawn"
        while left > 0:
            before = len(groups.numbers)
            async with bench.drawing(given, n=weighing.wave(left), several=True) as drawing:
                size, left = drawing.size, left - drawing.size
                async for candidate in drawing:
                    await groups.add(candidate)
                    bench.note(weighing.step())
                    if decided := weighing.decided(left + size - len(groups.numbers) + before):
                        break
                else:
                    decided = None
            if decided or bench.stopped_by or not size:
                why = decided or bench.stopped_by or why
                break
        bench.note(Step("decided", len(groups.numbers), detail=why))
        return weighing.choice(problem)


class _Weighing:
    """The posterior over the answers of `groups`, and what follows from it."""

    def __init__(
        self, groups: Groups, source: str | None, trust: Estimates, *, at: float, explored: bool
    ) -> None:
        self._groups = groups
        self._source = source
        self._trust = trust
        self._at = at
        self._explored = explored

    def posterior(self, pattern: Pattern | None = None) -> dict[int | None, float]:
        return self._trust.posterior(pattern or self._groups.pattern(self._source))

    def decided(self, left: int) -> str | None:
        """Why no more programs are needed when `left` could be drawn; None while they are."""
        return self._decided(self._groups.pattern(self._source), left)

    def wave(self, left: int) -> int:
        """How many programs to draw at once: the fewest after which the choice can be made.

        All of them are needed whatever they say, so drawing them together spends no more than one
        after the other, and takes a fraction of the time.
        """
        pattern = self._groups.pattern(self._source)
        for n in range(1, left):
            voices = [_more(pattern, number, n) for number in _voices(pattern)]
            if any(self._decided(each, left - n) for each in voices):
                return n
        return left

    def step(self) -> Step:
        posterior = sorted(self.posterior().items(), key=lambda item: -item[1])
        weights = tuple(
            (None if number is None else self._groups.answer(number).text, round(probability, 4))
            for number, probability in posterior
        )
        return Step("posterior", len(self._groups.numbers), weights)

    def choice(self, problem: Problem) -> Choice:
        posterior, groups = self.posterior(), self._groups
        pattern, prior = groups.pattern(self._source), problem.prior.answer
        if not any(number is not None for number in groups.numbers):
            return Choice("unresolved", prior, confidence=0.0, pattern=pattern)
        leader = _leader(posterior)
        assert leader is not None, "some program has an answer"
        winner = next(iter(groups.members(leader)), None)
        decision: Decision = "answered"
        if prior is not None:
            unchanged: Decision = "confirmed" if winner else "kept"
            decision = "corrected" if leader != groups.prior else unchanged
        answer = groups.answer(leader)
        return Choice(decision, answer, posterior[leader], winner, pattern)

    def _decided(self, pattern: Pattern, left: int) -> str | None:
        posterior = self.posterior(pattern)
        leader = _leader(posterior)
        if leader is None or not pattern.programs:
            return None
        on_its_word = leader not in pattern.programs
        if posterior[leader] >= self._at and not (on_its_word and self._explored):
            return f"an answer has probability {posterior[leader]:.2f}"
        further = left if self._explored else min(_FUTILE, left)
        voices = (_more(pattern, number, further) for number in _voices(pattern))
        if all(_leader(self.posterior(each)) == leader for each in voices):
            return f"{further} more programs could not change the choice"
        return None


def _is_explored(problem: Problem) -> bool:
    digest = blake2b(problem.question.encode("utf-8", "replace"), digest_size=2).digest()
    return int.from_bytes(digest, "big") % _EXPLORED == 0


def _leader(posterior: dict[int | None, float]) -> int | None:
    """The most probable answer; the earliest of equals."""
    return max(
        (number for number in posterior if number is not None),
        key=lambda number: (posterior[number], -number),
        default=None,
    )


def _voices(pattern: Pattern) -> list[int]:
    """The answers that further programs may come to: those there are, and one that is new."""
    known = {number for number in (pattern.prior, *pattern.programs) if number is not None}
    return [*sorted(known), max(known, default=-1) + 1]


def _more(pattern: Pattern, number: int, n: int) -> Pattern:
    return replace(pattern, programs=(*pattern.programs, *[number] * n))
