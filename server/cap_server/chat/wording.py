"""How a corrected answer is said, in the form that the answer it replaces had."""

from __future__ import annotations

import re

from cap_server.domain import Answer
from cap_server.prompts.format import is_chinese

_HASHES = re.compile(r"^[ \t]*#{4}[ \t]*\S", re.MULTILINE)


def worded(answer: Answer, *, like: str) -> str:
    r"""`answer` as a sentence.

    Whoever reads answers by program looks for `\boxed{}` or `####` where their prompt asked for it,
    and finds it again.

    Args:
        answer: what is said.
        like: the text that it replaces, or the question where there was none.
    """
    boxed = f"$\\boxed{{{answer.latex or answer.text}}}$"
    shown = boxed if "\\boxed" in like else answer.text
    said = f"答案是{shown}。" if is_chinese(like) else f"The answer is {shown}."
    return f"{said}\n#### {answer.text}" if _HASHES.search(like) else said
