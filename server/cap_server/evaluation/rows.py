"""The labelled problems: one JSON object a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class EvaluationError(Exception):
    """Why an evaluation could not go on; the message is for the person who runs it."""


class Row(BaseModel):
    """A problem, its right answer, and what somebody answered, if anybody did."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    question: str = Field(min_length=1)
    answer: str | int | float
    cot: str | None = None
    source: str | None = None
    choices: list[str] | None = None

    def request(self) -> dict[str, Any]:
        """The fields of `POST /v1/refine` that it fills."""
        return self.model_dump(exclude={"answer"}, exclude_none=True)


def read_rows(path: Path) -> list[Row]:
    """Read `path`.

    Raises:
        EvaluationError: it cannot be read, holds no row, or a line is none; which and why.
    """
    try:
        lines = path.read_text("utf-8").split("\n")
    except OSError as error:
        raise EvaluationError(f"{path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} is not text in UTF-8.") from error
    rows = [_row(line, where=f"{path}:{i}") for i, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise EvaluationError(f"{path} holds no rows.")
    return rows


def _row(line: str, *, where: str) -> Row:
    try:
        return Row.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"])) or "the line"
        raise EvaluationError(
            f"{where}: {field}: {fault['msg']}. A row has `question` and `answer`, and may have "
            "`cot`, `source` and `choices`."
        ) from error
