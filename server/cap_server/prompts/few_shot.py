"""A prompt for instruction models that were never trained to refine: instructions and examples."""

from __future__ import annotations

from cap_server.domain import Candidate, Message, Problem, Prompt
from cap_server.prompts import chinese, english
from cap_server.prompts.examples import Example
from cap_server.prompts.format import (
    fenced_program,
    is_chinese,
    is_done,
    outcome,
    prior_text,
    with_choices,
)


class FewShot:
    """Chat turns that show the task, in the language of the question.

    The examples hold right and wrong solutions alike, so that the model learns to work the problem
    out anew instead of translating the solution it was given.
    """

    def program_prompt(self, problem: Problem) -> Prompt:
        return self.demonstrated_prompt(problem)

    def demonstrated_prompt(self, problem: Problem) -> Prompt:
        language = chinese if is_chinese(problem.question) else english
        turns = [Message("system", language.INSTRUCTION)]
        for example in language.EXAMPLES:
            turns += _turns(example, language.QUESTION, language.SOLUTION)
        ask = _ask(problem, language.QUESTION, language.SOLUTION)
        return Prompt("program", problem, (*turns, Message("user", ask)))

    def bare_prompt(self, problem: Problem) -> Prompt:
        language = chinese if is_chinese(problem.question) else english
        ask = _ask(problem, language.QUESTION, language.SOLUTION)
        turns = (Message("system", language.INSTRUCTION), Message("user", ask))
        return Prompt("program", problem, turns)

    def revision_prompt(self, problem: Problem, *, program: Candidate) -> Prompt:
        language = chinese if is_chinese(problem.question) else english
        asked = self.program_prompt(problem)
        wrote = Message("assistant", f"```python\n{program.text}\n```")
        told = Message("user", language.REVISE.format(outcome=outcome(program)))
        return Prompt("program", problem, (*asked.messages, wrote, told))

    def verdict_prompt(self, problem: Problem, *, candidate: Candidate) -> Prompt:
        language = chinese if is_chinese(problem.question) else english
        answer = "" if candidate.answer is None else candidate.answer.text
        ask = (
            f"{language.QUESTION}{with_choices(problem)}\n\n{language.SOLUTION}{candidate.text}\n\n"
            f"{language.RESULT}{answer}\n\n{language.CORRECT}"
        )
        turns = (Message("system", language.JUDGE), Message("user", ask))
        return Prompt("verdict", problem, turns)

    def read_program(self, reply: str, *, complete: bool) -> str:
        if (program := fenced_program(reply)) is not None:
            return program
        whole = complete and "```" not in reply and not is_done(reply)
        return reply.strip() if whole else ""


def _turns(example: Example, question: str, solution: str) -> list[Message]:
    ask = _ask(example.problem, question, solution)
    return [Message("user", ask), Message("assistant", f"```python\n{example.program}\n```")]


def _ask(problem: Problem, question: str, solution: str) -> str:
    lines = [f"{question}{with_choices(problem)}"]
    if (prior := prior_text(problem)) is not None:
        lines.append(f"{solution}{prior}")
    return "\n\n".join(lines)
