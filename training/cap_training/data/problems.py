"""A problem with the sum that solves it, wherever it came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cap_training.data.arithmetic import Node, evaluate, program, written


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """Attributes.

    origin: `synthetic`, `gsm8k`, `ape210k`, …
    language: `en` or `zh`.
    family: the kind of problem, where it is known.
    wording: which of the family's wordings.
    unseen: whether training must not show this wording.
    source: the id of the question that this one was made from; twins share it.
    unit: the things that are counted, for CoTs that name them.
    """

    question: str
    sum: Node
    origin: str
    language: str = "en"
    family: str = ""
    wording: str = ""
    unseen: bool = False
    source: str = ""
    unit: str = ""

    @property
    def answer(self) -> str:
        return written(evaluate(self.sum))

    @property
    def program(self) -> str:
        return program(self.sum)

    @property
    def id(self) -> str:
        return question_id(self.question)


def question_id(question: str) -> str:
    """The same for questions that differ in case, spaces or punctuation only."""
    bare = "".join(c for c in question.casefold() if c.isalnum())
    return hashlib.sha256(bare.encode()).hexdigest()[:16]
