"""Training rows from a server's own log of refinements, where its operator keeps one.

The least that a line must have is told in `docs/training-data.md`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cap_server.domain import Answer
from cap_server.ports import Equality
from cap_training.data.files import json_lines
from cap_training.data.labelling import Judged, Judgement
from cap_training.data.problems import question_id
from cap_training.data.sampling import Labelled


@dataclass(frozen=True, slots=True)
class Trust:
    """Which refinements may teach.

    Attributes:
        confidence: the least that the server had, where no reference answer is logged.
    """

    confidence: float = 0.9


async def read_refinements(
    path: Path, *, equality: Equality, trust: Trust | None = None
) -> AsyncIterator[Judgement]:
    """Judge logged candidates by the reference answer, or by the answer the server was sure of.

    Raises:
        ValueError: a line is not what the server logs; the message names the line.
    """
    for at, line in enumerate(json_lines(path), 1):
        try:
            truth = _truth(line, trust or Trust())
            if truth is not None:
                yield await _judgement(line, truth, equality)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {at}: {error} is missing or of another type") from error


def _truth(line: Mapping[str, Any], trust: Trust) -> str | None:
    if line.get("reference") is not None:
        return str(line["reference"])
    sure = line.get("answer") is not None and line.get("confidence", 0) >= trust.confidence
    return str(line["answer"]) if sure else None


async def _judgement(line: Mapping[str, Any], truth: str, equality: Equality) -> Judgement:
    known = Answer(truth)
    found: dict[str, dict[str, Judged]] = {"cot": {}, "program": {}}
    for kind, text, answer in _texts(line):
        right = answer is not None and await equality.same(Answer(answer), known)
        found[kind][text] = Judged(text, answer, right)
    question = str(line["question"])
    return Judgement(
        Labelled(question_id(question), question, truth),
        tuple(found["cot"].values()),
        tuple(found["program"].values()),
    )


def _texts(line: Mapping[str, Any]) -> list[tuple[str, str, str | None]]:
    texts = [
        (str(c["kind"]), str(c["text"]).strip(), None if c["answer"] is None else str(c["answer"]))
        for c in line["candidates"]
        if c["kind"] in ("cot", "program") and str(c["text"]).strip()
    ]
    if line.get("cot"):
        original = line.get("original_answer")
        texts.append(("cot", str(line["cot"]), None if original is None else str(original)))
    return texts
