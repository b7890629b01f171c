"""Ape210K's equations as programs (Zhao et al. 2020, MIT). Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from cap_training.data.arithmetic import Number, SumError, evaluate, parse, steps
from cap_training.data.files import json_lines
from cap_training.data.mentions import mentions
from cap_training.data.problems import SourceProblem, question_id

_LONGEST_PROGRAM = 8
_MIXED = re.compile(r"(\d+)\((\d+)/(\d+)\)")


def read_ape210k(path: Path) -> Iterator[SourceProblem]:
    """The problems whose equation comes to their answer and uses numbers of their question."""
    for row in json_lines(path):
        if (problem := solve(row)) is not None:
            yield problem


def solve(row: Mapping[str, Any]) -> SourceProblem | None:
    """A row with `question`, `equation` and `answer`; None where no program can be had."""
    try:
        node = parse(_cleaned(str(row["equation"]).removeprefix("x=")))
        truth = evaluate(parse(_cleaned(str(row["answer"]))))
        value = evaluate(node)
        if isinstance(node, Number) or abs(value - truth) > abs(truth) * Fraction(1, 1000):
            return None
        if len(steps(node)) > _LONGEST_PROGRAM or value <= 0:
            return None
    except (SumError, ValueError):
        return None
    question = "".join(str(row["question"]).split()).rstrip("．.")
    if not mentions(question):
        return None
    return SourceProblem(
        question, node, origin="ape210k", language="zh", source=question_id(question)
    )


def _cleaned(equation: str) -> str:
    text = _MIXED.sub(r"(\1+\2/\3)", equation.replace("**2", "**2"))
    text = re.sub(r"(\d+(?:\.\d+)?)%", r"(\1/100)", text)
    text = re.sub(r"(\d+(?:\.\d+)?)\*\*2", r"\1*\1", text)
    return re.sub(r"(?<![\d.])0+(?=\d)", "", text)
