"""What is to be refined, as a request names it."""

from __future__ import annotations

from pydantic import Field

from cap_server.api.terms import Choices, Source
from cap_server.api.wire import Request, Text
from cap_server.domain import Answer, Prior, Problem


class ProblemIn(Request):
    question: Text
    cot: Text | None = Field(None, description="The chain of thought to refine.")
    answer: Text | None = Field(
        None, description="The answer to refine. Unset: what the CoT comes to."
    )
    choices: Choices | None = None
    source: Source | None = None

    def problem(self) -> Problem:
        answer = None if self.answer is None else Answer(self.answer)
        prior = Prior(cot=self.cot, answer=answer, source=self.source)
        return Problem(self.question, tuple(self.choices or ()), prior)
