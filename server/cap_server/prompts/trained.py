"""The format of models that were trained to refine, `models/cap-small` among them.

One user message, `Question: …` and a line `Answer: …` with the CoT if there is one. The reply is a
program that leaves its result in `answer`, then a verdict on the CoT as a comment
(CaP, arXiv 2412.16871: the model writes its critic after the solution).
"""

from __future__ import annotations

import re

from cap_server.domain import Message, Problem, Prompt
from cap_server.prompts.format import fenced_program, prior_text, with_choices

_VERDICT = re.compile(r"\n?#\s*prior:\s*\w+\s*\Z")


class Trained:
    def program_prompt(self, problem: Problem) -> Prompt:
        lines = [f"Question: {with_choices(problem)}"]
        if (prior := prior_text(problem)) is not None:
            lines.append(f"Answer: {prior}")
        return Prompt("program", problem, (Message("user", "\n".join(lines)),))

    def read_program(self, reply: str, *, complete: bool) -> str:
        if (program := fenced_program(reply)) is not None:
            return program
        # The verdict is the model's opinion of the CoT, not a step of the program; without it
        # programs that differ in nothing else run once.
        return _VERDICT.sub("", reply.strip()).strip() if complete else ""
