"""One worked example of a few-shot prompt."""

from __future__ import annotations

from dataclasses import dataclass

from cap_server.domain import Prior, Problem


@dataclass(frozen=True, slots=True)
class Example:
    question: str
    program: str
    cot: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def problem(self) -> Problem:
        return Problem(self.question, self.choices, Prior(cot=self.cot))
