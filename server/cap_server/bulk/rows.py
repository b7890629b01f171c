"""The problems of a file: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cap_client import Problem, SharedOptions

_MOST_PROBLEMS = 1000
"""The server's, of one batch."""

_MOST_BYTES = 4_000_000
"""Of one batch; half of the server's default. Where that is lower, batches are halved until they
pass."""


class BulkError(Exception):
    """Why a file cannot be refined; the message is for the person who wants it."""


class RowError(Exception):
    """Why one row is none."""


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


AlsoNumber = Annotated[str, BeforeValidator(_as_text)]


class Written(BaseModel):
    """A problem as its line has it. A misspelt field must not be silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(min_length=1)
    custom_id: AlsoNumber | None = None
    cot: str | None = None
    answer: AlsoNumber | None = None
    choices: list[AlsoNumber] | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One problem.

    Attributes:
        line: its line's number, from 1.
        size: of its JSON, in bytes.
        key: tells the problem and how it is refined, by their content.
    """

    line: int
    problem: Problem
    size: int
    key: str


def rows_of(content: bytes, *, name: str, shared: SharedOptions) -> list[Row]:
    """The rows of a file.

    Args:
        content: the file's.
        name: the file's, for messages.
        shared: how they will be refined.

    Raises:
        BulkError: it holds none, or a line is none; which and why.
    """
    lines = enumerate(content.split(b"\n"), 1)
    rows = [_named_row(line, i, name=name, shared=shared) for i, line in lines if line.strip()]
    if not rows:
        raise BulkError(f"{name} holds no rows.")
    return rows


def batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Cut `rows` into batches that a server takes."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        if batch and (len(batch) == _MOST_PROBLEMS or size + row.size > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row.size
    if batch:
        yield batch


def row_of(written: bytes | Mapping[str, object], number: int, *, shared: SharedOptions) -> Row:
    """A row as its file has it.

    Args:
        written: a line of JSON, or the row's fields.
        number: the row's in its file, from 1.
        shared: how it will be refined.

    Raises:
        RowError: it is none.
    """
    try:
        read = Written.model_validate_json if isinstance(written, bytes) else Written.model_validate
        valid = read(written)  # type: ignore[arg-type]  # of the branch above
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"])) or "the line"
        raise RowError(
            f"{field}: {fault['msg']}. A row has `question`, and may have `cot`, "
            "`answer`, `choices`, `source` and `custom_id`."
        ) from error
    problem: Problem = valid.model_dump(exclude_none=True)  # type: ignore[assignment]  # its fields
    content = json.dumps([problem, shared], sort_keys=True).encode()
    key = blake2b(content, digest_size=16).hexdigest()
    return Row(number, problem, size=len(content), key=key)


def _named_row(line: bytes, number: int, *, name: str, shared: SharedOptions) -> Row:
    try:
        return row_of(line, number, shared=shared)
    except RowError as error:
        raise BulkError(f"{name}:{number}: {error}") from error
