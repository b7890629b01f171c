"""Rows of TRL's prompt–completion format, from Parquet to token numbers.

A row's prompt and completion are lists of messages. The prompt is tokenized as the model's chat
template renders it for generation, the completion by itself: what the model is trained to continue
is to the token what it is given later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from cap_training.failures import RowsError

Message = dict[str, str]
Column = Literal["prompt", "completion", "chosen", "rejected"]

_BATCH = 4096


@dataclass(frozen=True)
class Tokens:
    """Tokenized rows, end to end.

    Attributes:
        ids: all rows' tokens.
        starts: where each row begins in `ids`, and, last, where the last one ends.
        prompts: the length of each row's prompt.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    prompts: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.prompts)

    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def row(self, index: int) -> NDArray[np.int32]:
        return self.ids[self.starts[index] : self.starts[index + 1]]


def read(files: Sequence[Path], columns: Sequence[Column]) -> Iterator[dict[str, list[Message]]]:
    """Reads the rows of Parquet files, one file after another.

    Raises:
        RowsError: a file is missing, is no Parquet, or lacks a column.
    """
    for path in files:
        try:
            with parquet.ParquetFile(path) as file:
                lacks = sorted(set(columns) - set(file.schema_arrow.names))
                if lacks:
                    raise RowsError(f"{path} has no column {', '.join(lacks)}")
                for batch in file.iter_batches(_BATCH, columns=list(columns)):
                    yield from batch.to_pylist()
        except (OSError, ValueError) as error:
            raise RowsError(f"{path} cannot be read: {error}") from error


def tokenize(
    rows: Iterable[dict[str, list[Message]]], tokenizer: Any, *, context: int
) -> tuple[Tokens, int]:
    """Tokenizes prompt–completion rows.

    Returns:
        The rows that fit into `context` tokens, and how many did not.
    """
    ids: list[NDArray[np.int32]] = []
    prompts: list[int] = []
    dropped = 0
    for chunk in _chunks(rows):
        texts = [_rendered(row, tokenizer) for row in chunk]
        before = tokenizer([prompt for prompt, _ in texts], add_special_tokens=False)["input_ids"]
        after = tokenizer([rest for _, rest in texts], add_special_tokens=False)["input_ids"]
        for prompt, rest in zip(before, after, strict=True):
            if len(prompt) + len(rest) > context:
                dropped += 1
                continue
            ids.append(np.array(prompt + rest, dtype=np.int32))
            prompts.append(len(prompt))
    starts = np.cumsum([0, *map(len, ids)], dtype=np.int64)
    flat = np.concatenate(ids) if ids else np.zeros(0, dtype=np.int32)
    return Tokens(flat, starts, np.array(prompts, dtype=np.int32)), dropped


def texts(rows: Iterable[dict[str, list[Message]]]) -> Iterator[str]:
    """All that rows say, message by message."""
    for row in rows:
        for messages in row.values():
            yield from (message["content"] for message in messages)


def _chunks(
    rows: Iterable[dict[str, list[Message]]],
) -> Iterator[list[dict[str, list[Message]]]]:
    chunk: list[dict[str, list[Message]]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _BATCH:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _rendered(row: dict[str, list[Message]], tokenizer: Any) -> tuple[str, str]:
    prompt = tokenizer.apply_chat_template(
        row["prompt"], tokenize=False, add_generation_prompt=True
    )
    whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=False)
    if not whole.startswith(prompt):
        raise RowsError("the chat template does not begin a reply as it begins an open one")
    return prompt, whole[len(prompt) :]
