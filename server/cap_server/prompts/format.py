"""What every way of asking for a program has in common."""

from __future__ import annotations

import re
from typing import Protocol

from cap_server.domain import Candidate, Problem, Prompt

_FENCE = re.compile(r"^[ \t]*```[^\n]*$", re.MULTILINE)
_LONGEST_OUTCOME = 800
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


DONE = "DONE"
"""What a model says instead of a revision when its program should stay as it is."""


class PromptFormat(Protocol):
    def program_prompt(self, problem: Problem) -> Prompt:
        """Ask for a program that works `problem` out, in the light of its CoT if it has one."""
        ...

    def demonstrated_prompt(self, problem: Problem) -> Prompt:
        """The same after worked examples."""
        ...

    def bare_prompt(self, problem: Problem) -> Prompt:
        """The same without any."""
        ...

    def revision_prompt(self, problem: Problem, *, program: Candidate) -> Prompt:
        """Ask for a better version of `program`, in the light of what became of it."""
        ...

    def verdict_prompt(self, problem: Problem, *, candidate: Candidate) -> Prompt:
        """Ask whether `candidate` is right; the reply's first word is yes or no, in any case."""
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


def outcome(program: Candidate) -> str:
    """What became of a program, as the model that wrote it is told."""
    execution = program.execution
    if execution is None:
        return "no program"
    if execution.status != "ok":
        return f"{execution.status}: {execution.stderr.strip()[-_LONGEST_OUTCOME:]}"
    value = "no answer" if execution.value is None else execution.value.text
    return f"answer = {value[:_LONGEST_OUTCOME]}"


def is_done(reply: str) -> bool:
    """Whether the model says that its program should stay as it is."""
    return reply.strip().rstrip(".").upper() == DONE


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
