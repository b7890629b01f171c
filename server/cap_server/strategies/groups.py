"""Candidates gathered by answer, with the prior's answer among them."""

from __future__ import annotations

from cap_server.domain import Answer, Candidate, Pattern, Step
from cap_server.workbench import Workbench


class Groups:
    """Numbers answers as they come: equal ones have one number; the prior's, if any, is 0.

    Attributes:
        numbers: of each candidate that was added, in order; None for one without an answer.

    Args:
        bench: says which answers are the same.
        prior: the answer that candidates are weighed against.
    """

    def __init__(self, bench: Workbench, prior: Answer | None) -> None:
        self.numbers: list[int | None] = []
        self._bench = bench
        self._answers = [] if prior is None else [prior]
        self._members: dict[int, list[Candidate]] = {}
        self._prior = None if prior is None else 0

    @property
    def prior(self) -> int | None:
        """The number of the prior's answer."""
        return self._prior

    async def add(self, candidate: Candidate) -> int | None:
        """Put `candidate` to those with the same answer; its answer's number."""
        number = None if candidate.answer is None else await self.number(candidate.answer)
        self.numbers.append(number)
        if number is not None:
            self._members.setdefault(number, []).append(candidate)
        return number

    async def number(self, answer: Answer) -> int:
        for number, known in enumerate(self._answers):
            if await self._bench.same(known, answer):
                return number
        self._answers.append(answer)
        return len(self._answers) - 1

    def answer(self, number: int) -> Answer:
        return self._answers[number]

    def members(self, number: int | None) -> list[Candidate]:
        """Those that came to an answer, in the order in which they were added."""
        return [] if number is None else self._members.get(number, [])

    def ranked(self) -> list[tuple[int, list[Candidate]]]:
        """Answers with their candidates: most first, then earliest first."""
        earliest = {
            number: at
            for at, number in reversed(list(enumerate(self.numbers)))
            if number is not None
        }
        return sorted(self._members.items(), key=lambda item: (-len(item[1]), earliest[item[0]]))

    def pattern(self, source: str | None) -> Pattern:
        return Pattern(source, self._prior, tuple(self.numbers))

    def step(self) -> Step:
        """The vote as it stands, for the trace."""
        votes = tuple((self._answers[n].text, float(len(each))) for n, each in self.ranked())
        return Step("vote", programs=len(self.numbers), weights=votes)
