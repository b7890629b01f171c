"""What every way of asking for a program has in common."""

from __future__ import annotations

import re
from typing import Protocol

from cap_server.domain import Problem, Prompt

_FENCE = re.compile(r"^[ \t]*```[^\n]*$", re.MULTILINE)
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


class PromptFormat(Protocol):
    def program_prompt(self, problem: Problem) -> Prompt:
        """Ask for a program that works `problem` out, in the light of its CoT if it has one."""
        ...

    def read_program(self, reply: str, *, complete: bool) -> str:
        """The program in a model's `reply`; empty when it holds none, or only a part of one.

        Args:
            reply: the model's text.
            complete: whether the model came to its end by itself. A program that was cut off must
                not run: its last line may say `answer = 12` where `answer = 120` was meant.
        """
        ...


def fenced_program(reply: str) -> str | None:
    """The last closed Markdown code block of `reply`; None when there is none."""
    fences = list(_FENCE.finditer(reply))
    if len(fences) < 2:
        return None
    opening, closing = fences[len(fences) // 2 * 2 - 2 : len(fences) // 2 * 2]
    return reply[opening.end() : closing.start()].strip()


def with_choices(problem: Problem) -> str:
    """The question, followed by its choices under the letters that name them."""
    letters = (f"({chr(ord('A') + i)}) {choice}" for i, choice in enumerate(problem.choices))
    return "\n".join((problem.question, *letters))


def prior_text(problem: Problem) -> str | None:
    """What is to be refined: the CoT, or the bare answer where that is all there is."""
    prior = problem.prior
    if prior.cot is not None:
        return prior.cot
    return prior.answer.text if prior.answer else None


def is_chinese(text: str) -> bool:
    return _CHINESE.search(text) is not None
