"""The format of models that were trained to refine, `models/cap-small` among them.

One user message, `Question: …` and a line `Answer: …` with the CoT if there is one. The reply is a
program that leaves its result in `answer`, then a verdict on the CoT as a comment
(CaP, arXiv 2412.16871: the model writes its critic after the solution). A third line `Correct?`
asks for the verdict alone, on a CoT or a program: `yes` or `no`.
"""

from __future__ import annotations

import re

from cap_server.domain import Candidate, Message, Problem, Prompt
from cap_server.prompts import english
from cap_server.prompts.format import (
    fenced_program,
    is_done,
    outcome,
    prior_text,
    with_choices,
)

_VERDICT = re.compile(r"\n?#\s*prior:\s*\w+\s*\Z")


class Trained:
    def program_prompt(self, problem: Problem) -> Prompt:
        return Prompt("program", problem, (Message("user", _ask(problem)),))

    def demonstrated_prompt(self, problem: Problem) -> Prompt:
        turns = [
            turn
            for example in english.EXAMPLES
            for turn in (
                Message("user", _ask(example.problem)),
                Message("assistant", example.program),
            )
        ]
        return Prompt("program", problem, (*turns, Message("user", _ask(problem))))

    def bare_prompt(self, problem: Problem) -> Prompt:
        return self.program_prompt(problem)

    def revision_prompt(self, problem: Problem, *, program: Candidate) -> Prompt:
        # Models know this format only: the program stands where the answer to refine does.
        ask = f"Question: {with_choices(problem)}\nAnswer: {program.text}\n# {outcome(program)}"
        return Prompt("program", problem, (Message("user", ask),))

    def verdict_prompt(self, problem: Problem, *, candidate: Candidate) -> Prompt:
        ask = f"Question: {with_choices(problem)}\nAnswer: {candidate.text}\nCorrect?"
        return Prompt("verdict", problem, (Message("user", ask),))

    def read_program(self, reply: str, *, complete: bool) -> str:
        if (program := fenced_program(reply)) is not None:
            return program
        # The verdict is the model's opinion of the CoT, not a step of the program; without it
        # programs that differ in nothing else run once.
        whole = complete and not is_done(reply)
        return _VERDICT.sub("", reply.strip()).strip() if whole else ""


def _ask(problem: Problem) -> str:
    lines = [f"Question: {with_choices(problem)}"]
    if (prior := prior_text(problem)) is not None:
        lines.append(f"Answer: {prior}")
    return "\n".join(lines)
