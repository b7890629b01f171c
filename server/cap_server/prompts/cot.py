"""The prompt for a CoT, for problems that come without one."""

from __future__ import annotations

from cap_server.domain import Message, Problem, Prompt
from cap_server.prompts.format import is_chinese, with_choices

_ENGLISH = (
    "Solve the problem step by step, one short sentence a step, with the arithmetic written out. "
    'End with a line "The answer is X." where X is the bare answer: a number without its unit, '
    "or the letter of the right choice when choices are given."
)
_CHINESE = (
    "请一步一步地解答，每一步写一个短句，并写出算式。最后一行写“答案是X。”，"
    "其中X只写答案本身：不带单位的数，或者在有选项时写正确选项的字母。"
)


def cot_prompt(problem: Problem) -> Prompt:
    """Ask for a CoT in the language of the question."""
    instruction = _CHINESE if is_chinese(problem.question) else _ENGLISH
    messages = (Message("system", instruction), Message("user", with_choices(problem)))
    return Prompt("cot", problem, messages)
