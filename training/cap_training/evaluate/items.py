"""What is asked: questions without a CoT, with a right one, with a wrong one.

Two kinds of files: JSON lines, with `question`, `answer` and any of `right_cot`, `wrong_cot` and
`cots` (texts by their source, judged here by their answers); and the Parquet files of
`cap-train data`, where every row is one case.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as parquet

from cap_server import answers
from cap_server.domain import Answer
from cap_server.ports import Equality
from cap_training.data.files import json_lines
from cap_training.failures import RowsError

Condition = Literal["none", "right", "wrong"]
CONDITIONS: tuple[Condition, ...] = ("none", "right", "wrong")
_COLUMNS = ("question", "answer", "cot", "cot_right", "kind")


@dataclass(frozen=True)
class Item:
    """One question as it is put.

    Attributes:
        dataset: the name of the set, from its file.
    """

    dataset: str
    condition: Condition
    question: str
    answer: str
    cot: str | None = None

    @property
    def key(self) -> str:
        """The same for the same question and CoT, in every evaluation."""
        told = f"{self.question}\0{self.cot or ''}"
        return f"{self.dataset}/{self.condition}/{zlib.crc32(told.encode()):08x}"


async def read_items(
    files: Iterable[Path], *, most: int, seed: int, equality: Equality
) -> list[Item]:
    """The items of `files`, at most `most` of each condition of each set, in mixed order.

    Raises:
        RowsError: a file cannot be used.
    """
    chance = random.Random(seed)
    kept: list[Item] = []
    for path in files:
        found = {item.key: item for item in await _read(path, chance, equality)}
        for condition in CONDITIONS:
            group = [item for item in found.values() if item.condition == condition]
            kept += chance.sample(group, min(most, len(group)))
    return chance.sample(kept, len(kept))


async def _read(path: Path, chance: random.Random, equality: Equality) -> list[Item]:
    name = path.name.partition(".")[0]
    if path.suffix == ".parquet":
        return list(_of_parquet(name, path))
    try:
        return [
            item for row in json_lines(path) for item in await _of_row(name, row, chance, equality)
        ]
    except KeyError as error:
        raise RowsError(f"{path}: a row has no {error}") from error
    except ValueError as error:  # names the file itself
        raise RowsError(str(error)) from error


def _of_parquet(name: str, path: Path) -> Iterator[Item]:
    try:
        rows = parquet.read_table(path, columns=list(_COLUMNS)).to_pylist()
    except (OSError, ValueError) as error:
        raise RowsError(f"{path} cannot be read: {error}") from error
    for row in rows:
        if row["kind"] == "program":
            condition: Condition = "none"
            if row["cot"] is not None:
                condition = "right" if row["cot_right"] else "wrong"
            yield Item(name, condition, row["question"], row["answer"], row["cot"])


async def _of_row(
    name: str, row: Mapping[str, Any], chance: random.Random, equality: Equality
) -> list[Item]:
    question, answer = str(row["question"]), str(row["answer"])
    cots: dict[Condition, list[str]] = {"right": [], "wrong": []}
    for condition, field in (("right", "right_cot"), ("wrong", "wrong_cot")):
        if row.get(field):
            cots[condition].append(row[field])  # type: ignore[index]  # the literals above
    for text in (row.get("cots") or {}).values():
        said = answers.extract(text)
        if said is not None:
            same = await equality.same(said, Answer(answer))
            cots["right" if same else "wrong"].append(text)
    items = [Item(name, "none", question, answer)]
    for condition, texts in cots.items():
        if texts:
            items.append(Item(name, condition, question, answer, chance.choice(texts)))
    return items
