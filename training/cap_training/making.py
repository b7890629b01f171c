"""A recipe's rows: those of its files, or made here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from cap_training.data.card import Census, write_card, write_parquet
from cap_training.data.mixture import Mixture, Recipe, Sources, described
from cap_training.recipe import DataPart

_ROWS_PER_BUDGET_S = 80
"""A core makes about a thousand rows a second, and a twelfth of the budget may go into it."""

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Data:
    """Parquet files of rows.

    Attributes:
        dev: chooses among models; training does not see it.
        test: makes the report; nothing else sees it.
    """

    train: tuple[Path, ...]
    dev: tuple[Path, ...]
    test: tuple[Path, ...]


def make(part: DataPart, folder: Path, *, budget_s: float | None) -> Data:
    """Makes what is not there yet."""
    if part.train:
        return Data(part.train, part.dev, part.test)
    files = {split: folder / f"{split}.parquet" for split in SPLITS}
    if not (folder / "card.json").exists():
        _write(part, files, folder, budget_s)
    return Data((files["train"],), (files["dev"],), (files["test"],))


def _write(part: DataPart, files: dict[str, Path], folder: Path, budget_s: float | None) -> None:
    most = part.rows if budget_s is None else int(budget_s * _ROWS_PER_BUDGET_S)
    recipe = Recipe(rows=min(part.rows, max(2000, most)), seed=part.seed)
    sources, census = Sources(part.gsm8k, part.ape210k), Census()
    for split, path in files.items():
        size = recipe.rows if split == "train" else part.held_out
        mixture = Mixture(replace(recipe, rows=size), sources, split=split)
        write_parquet(path, census.counted(row.columns() for row in mixture.rows()))
    write_card(
        folder,
        files=files.values(),
        sources=sources.files,
        census=census,
        recipe=described(recipe),
    )
