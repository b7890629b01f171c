"""Small data and a small model that all tests of training share."""

from __future__ import annotations

import importlib.util
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Models this small gain nothing from a second core, and lose much where it is busy.
os.environ["OMP_NUM_THREADS"] = "1"

collect_ignore: list[str] = []
if importlib.util.find_spec("trl") is None:
    # These cannot even be imported; `test_installed.py` says so in the report.
    collect_ignore += [
        "test_bundles.py",
        "test_deepen.py",
        "test_evaluate.py",
        "test_extrapolate.py",
        "test_losses.py",
        "test_mine.py",
        "test_miniature.py",
        "test_optimizer.py",
        "test_prefer.py",
        "test_recipe.py",
        "test_sft.py",
        "test_tokenizer.py",
    ]

Row = dict[str, Any]

thorough = pytest.mark.skipif(
    not os.environ.get("CAP_TEST_TRAIN"), reason="takes its time: `make test-train`"
)
"""For what starts servers or processes again and again."""


def sums(count: int, *, seed: int = 0) -> list[Row]:
    """Rows that a very small model can learn: sums of two short numbers."""
    chance = random.Random(seed)
    return [_row(chance.randint(2, 9), chance.randint(2, 9)) for _ in range(count)]


def _row(a: int, b: int) -> Row:
    question = f"Tom has {a} pens and gets {b}."
    return {
        "prompt": [{"role": "user", "content": f"Question: {question}"}],
        "completion": [{"role": "assistant", "content": f"answer={a}+{b}"}],
        "question": question,
        "answer": str(a + b),
        "cot": None,
        "cot_right": None,
        "kind": "program",
        "id": f"{a}-{b}",
    }


def pairs(count: int) -> list[Row]:
    """The same sums; a difference is rejected."""
    return [
        {
            "prompt": row["prompt"],
            "chosen": row["completion"],
            "rejected": [
                {"role": "assistant", "content": row["completion"][0]["content"].replace("+", "-")}
            ],
        }
        for row in sums(count)
    ]


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, list[Row]], Path]:
    """Writes rows to a Parquet file of that name."""
    folder = tmp_path_factory.mktemp("rows")

    def written(name: str, rows: list[Row]) -> Path:
        from cap_training.data.card import write_parquet

        path = folder / f"{name}.parquet"
        write_parquet(path, rows)
        return path

    return written


@pytest.fixture(scope="session")
def trained(
    write: Callable[[str, list[Row]], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run of a tiny model that has learnt the sums by heart."""
    from cap_training.models import Shape
    from cap_training.sft import SftOptions, sft

    options = SftOptions(
        data=(write("sums", sums(4000)),),
        output=tmp_path_factory.mktemp("trained") / "run",
        held_out=(write("sums-held-out", sums(60, seed=1)),),
        shape=Shape(layers=1, width=64, mlp=128, vocabulary=2048, context=128),
        batch_tokens=512,
        compile=False,
        learning_rate=1e-2,
    )
    sft(options, say=lambda _line: None)
    return options.output
