"""The questions of the load, the programs that are recorded for them, and what those truly come to.

Nothing here asks the server: a program's value is what Python says, outside of any sandbox.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

Kind = Literal["wrong", "right", "split", "crash", "bomb", "endless", "baker"]

KINDS: tuple[Kind, ...] = ("wrong", "right", "split", "crash")
BOMBS: tuple[Kind, ...] = ("bomb", "endless")
VARIANTS = 16
"""Programs that are recorded for a question: which one is drawn depends on the draw's seed."""

_TAG = re.compile(r"case ([a-z]+) (\d+):")


@dataclass(frozen=True)
class Question:
    """Attributes: kind: of its programs, and whether the answer it carries is right."""

    kind: Kind
    number: int

    @property
    def _baked(self) -> int:
        return 10 + self.number % 30

    @property
    def sum(self) -> int:
        return self._baked * 6 - 20 if self.kind == "baker" else 100 + 7 * self.number

    @property
    def text(self) -> str:
        if self.kind == "baker":  # of the kind that the small model knows
            return (
                f"A baker makes {self._baked} loaves every day for 6 days and then sells 20 of "
                "them. How many loaves are left?"
            )
        return f"case {self.kind} {self.number}: what is {self.sum - 40} and 40?"

    @property
    def stated(self) -> int:
        """The answer that its CoT states."""
        return self.sum if self.kind == "right" else self.sum + 5

    @property
    def cot(self) -> str:
        return f"They add up. The answer is {self.stated}."


def question_in(prompt: str) -> Question | None:
    """The question that a prompt asks."""
    found = _TAG.search(prompt)
    if found is None:
        return None
    kind = next(each for each in (*KINDS, *BOMBS) if each == found[1])
    return Question(kind, int(found[2]))


def program(question: Question, variant: int) -> str:
    """The recorded program; no two variants have the same text."""
    add = 41 if question.kind == "split" and variant % 2 else 40
    text = f"part{variant} = {question.sum - 40}\nanswer = part{variant} + {add}"
    return {
        "crash": f"{text} / 0",
        "bomb": f"block{variant} = [7] * (10 ** 9)\nanswer = len(block{variant})",
        "endless": f"turn{variant} = 1\nwhile turn{variant}:\n    turn{variant} += 1\nanswer = 1",
    }.get(question.kind, text)


def truth(question: Question, text: str) -> int | float | None:
    """What a program truly comes to; None: to no answer.

    Raises:
        KeyError: it was never recorded for this question.
        ValueError: nobody recorded it, and it is more than sums.
    """
    return _summed(text) if question.kind == "baker" else _recorded(question)[text]


@cache
def _recorded(question: Question) -> dict[str, int | None]:
    return {
        text: None if question.kind in BOMBS else _run(text)
        for text in (program(question, variant) for variant in range(VARIANTS))
    }


def _run(text: str) -> int | None:
    names: dict[str, int] = {}
    try:
        exec(text, names)  # our own text, from above
    except ZeroDivisionError:
        return None
    return names["answer"]


_DOES: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _summed(text: str) -> int | float:
    """The value of a program that only assigns sums, as the small model writes them."""
    names: dict[str, float] = {}
    try:
        for line in ast.parse(text).body:
            if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Name):
                raise ValueError(text)
            names[line.targets[0].id] = _value(line.value, names)
        return names["answer"]
    except (SyntaxError, KeyError, ZeroDivisionError) as error:
        raise ValueError(text) from error


def _value(node: ast.expr, names: dict[str, float]) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _DOES:
        return _DOES[type(node.op)](_value(node.left, names), _value(node.right, names))
    raise ValueError(ast.dump(node))
