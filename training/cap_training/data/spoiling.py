"""Right and wrong CoTs for labelled problems whose sum is known: what a model is measured on."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from cap_training.data.arithmetic import SumError, evaluate, parse
from cap_training.data.cots import right_cot, wrong_cot
from cap_training.data.problems import SourceProblem

_FIELDS = ("sum", "equation")


def with_cots(rows: Iterable[Mapping[str, Any]], seed: int) -> Iterator[dict[str, str]]:
    """Rows that `cap-train evaluate` reads, of rows with `question`, `answer` and a sum.

    A problem is left out whose sum cannot be read or does not come to its answer.

    Args:
        rows: the sum stands in `sum` or `equation`.
        seed: each problem's CoTs follow from it and the question alone.

    Raises:
        ValueError: a row has no question, no answer or no sum.
    """
    for at, row in enumerate(rows, 1):
        text = next((str(row[name]) for name in _FIELDS if row.get(name)), None)
        if text is None or row.get("answer") is None or not isinstance(row.get("question"), str):
            raise ValueError(f"row {at}: `question`, `answer` or `sum` is missing")
        problem = _problem(row["question"], text, str(row["answer"]))
        if problem is None:
            continue
        rng = random.Random(f"{seed}-{problem.id}")
        made = {"question": problem.question, "answer": problem.answer}
        made["right_cot"] = right_cot(problem, rng).text
        if (wrong := wrong_cot(problem, rng)) is not None:
            made["wrong_cot"] = wrong.text
        yield made


def _problem(question: str, text: str, answer: str) -> SourceProblem | None:
    try:
        sum_ = parse(text)
        if evaluate(sum_) != Fraction(answer.replace(",", "")):
            return None
    except (SumError, ValueError):
        return None
    chinese = any("\u4e00" <= character <= "\u9fff" for character in question)
    return SourceProblem(question, sum_, origin="", language="zh" if chinese else "en")
