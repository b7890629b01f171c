"""GSM8K's calculator annotations as programs (openai/grade-school-math, MIT)."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from cap_training.data.arithmetic import (
    Node,
    Number,
    Sum,
    SumError,
    evaluate,
    number,
    parse,
    steps,
    written,
)
from cap_training.data.files import json_lines
from cap_training.data.problems import SourceProblem, question_id

_ANNOTATION = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
_LONGEST_PROGRAM = 8
_LONGEST_NUMBER = Fraction(10**7)


@dataclass(frozen=True, slots=True)
class Solved:
    """A problem, its solution in words, and the sum behind every annotation of the solution."""

    problem: SourceProblem
    solution: str
    results: tuple[Node, ...]

    @property
    def cot(self) -> str:
        """The solution as a person would write it."""
        return _ANNOTATION.sub("", self.solution)


def read_gsm8k(path: Path) -> Iterator[Solved]:
    """The problems of GSM8K whose solution gives a program that comes to the right answer."""
    for row in json_lines(path):
        if (solved := solve(row)) is not None:
            yield solved


def solve(row: Mapping[str, Any]) -> Solved | None:
    """A row with `question`, `solution` and `answer`; None where no program can be had."""
    results: list[Node] = []
    known: dict[Fraction, Node] = {}
    try:
        for expression, _ in _ANNOTATION.findall(row["solution"]):
            node = _linked(parse(_cleaned(expression)), known, {})
            results.append(node)
            if isinstance(node, Sum):
                known[evaluate(node)] = node
        truth = Fraction(str(row["answer"]).replace(",", ""))
        if not results or evaluate(results[-1]) != truth or isinstance(results[-1], Number):
            return None
        if len(steps(results[-1])) > _LONGEST_PROGRAM or truth > _LONGEST_NUMBER:
            return None
    except (SumError, ValueError):
        return None
    question = " ".join(str(row["question"]).split())
    problem = SourceProblem(question, results[-1], origin="gsm8k", source=question_id(question))
    return Solved(problem, row["solution"], tuple(results))


def spoiled(solved: Solved, rng: random.Random) -> tuple[str, str] | None:
    """The solution with one wrong result, carried on to its end; the text and its answer."""
    places = [i for i, node in enumerate(solved.results) if isinstance(node, Sum)]
    at = rng.choice(places)
    target = solved.results[at]
    value = evaluate(target)
    off = rng.choice((-1, 1)) * 10 ** rng.randrange(max(1, len(str(int(abs(value))))))
    try:
        fixed: dict[int, Fraction] = {id(target): value + off}
        changed = {
            written(evaluate(node)): written(_carried(node, fixed)) for node in solved.results[at:]
        }
        answer = _carried(solved.results[-1], fixed)
    except SumError:
        return None
    if answer == evaluate(solved.results[-1]) or answer <= 0 or answer.denominator > 100:
        return None
    parts = list(_ANNOTATION.finditer(solved.solution))
    cut = parts[at].end()
    start, rest = solved.solution[:cut], solved.solution[cut:]
    pattern = re.compile(r"(?<![\d.])(\d[\d,]*(?:\.\d+)?)(?![\d])")

    def other(found: re.Match[str]) -> str:
        return changed.get(found[1].replace(",", ""), found[1])

    text = _ANNOTATION.sub("", start) + pattern.sub(other, _ANNOTATION.sub("", rest))
    return text, written(answer)


def _carried(node: Node, fixed: dict[int, Fraction]) -> Fraction:
    if id(node) in fixed:
        return fixed[id(node)]
    if isinstance(node, Number):
        return node.value
    left, right = _carried(node.left, fixed), _carried(node.right, fixed)
    value = evaluate(Sum(node.sign, number(left), number(right)))
    fixed[id(node)] = value
    return value


def _linked(node: Node, known: Mapping[Fraction, Node], done: dict[int, Node]) -> Node:
    """Put earlier results in the place of numbers that are equal to them."""
    if isinstance(node, Number):
        return known.get(node.value, node)
    if id(node) not in done:
        left, right = (_linked(side, known, done) for side in (node.left, node.right))
        done[id(node)] = Sum(node.sign, left, right)
    return done[id(node)]


def _cleaned(expression: str) -> str:
    text = expression.replace("$", "").replace(",", "").replace("x", "*").replace("X", "*")
    text = re.sub(r"(\d+(?:\.\d+)?)%", r"(\1/100)", text)
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)
    return re.sub(r"(?<![\d)])\.(?=\d)", "0.", text)
