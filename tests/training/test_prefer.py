"""Stage 2 as a run: it keeps the best model, and goes on after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cap_training import models
from cap_training.cli import cli
from cap_training.prefer import PreferOptions, grouped, prefer
from tests.training.conftest import Row, pairs, sums, thorough

Write = Callable[[str, list[Row]], Path]


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_best_measured_model_comes_out_the_one_before_included(
    trained: Path, write: Write, tmp_path: Path
) -> None:
    """Pairs that are the wrong way round can only spoil a model."""
    turned = [
        {"prompt": p["prompt"], "chosen": p["rejected"], "rejected": p["chosen"]} for p in pairs(32)
    ]
    options = PreferOptions(
        data=(write("turned", turned),),
        output=tmp_path / "run",
        base=trained / "model",
        loss="sigmoid",
        held_out=(write("prefer-held-out", sums(30, seed=2)),),
        epochs=3,
        batch_pairs=8,
        learning_rate=1e-2,
        context=128,
    )
    model = prefer(options, say=lambda _line: None)
    measured = [
        line["held_out/exact"] for line in metrics(options.output) if "held_out/exact" in line
    ]
    assert measured[0] > 0.9 > measured[-1]
    assert json.loads((options.output / "run.json").read_text())["finished"]["best_step"] == 0
    expected, found = (models.load(each)[0].state_dict() for each in (trained / "model", model))
    assert all(expected[name].equal(found[name]) for name in expected)


@thorough
def test_a_killed_run_goes_on_from_its_last_whole_checkpoint(
    trained: Path, write: Write, tmp_path: Path
) -> None:
    run, data = tmp_path / "run", write("pairs-to-kill", pairs(4000))

    def command(epochs: float) -> list[str]:
        return [
            "prefer", "--data", str(data), "--output", str(run), "--base", str(trained / "model"),
            "--loss", "ipo", "--context", "128", "--batch-pairs", "4", "--save-every", "0.5s",
            "--epochs", str(epochs),
        ]  # fmt: skip

    start = [sys.executable, "-c", "from cap_training.cli import main; main()", *command(100)]
    with subprocess.Popen(start, stderr=subprocess.PIPE) as killed:
        while not list(run.glob("checkpoints/*/clock.json")) and killed.poll() is None:
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
    assert not (run / "model").exists()
    reached = max(
        int(path.parent.name.rpartition("-")[2]) for path in run.glob("checkpoints/*/clock.json")
    )
    torn = run / "checkpoints" / f"checkpoint-{reached + 1000}"  # as a kill leaves one
    torn.mkdir()
    done = CliRunner().invoke(cli, command((reached + 5) / 1000))
    assert done.exit_code == 0, done.output
    assert f"Going on from checkpoint-{reached}." in done.output
    finished = json.loads((run / "run.json").read_text())["finished"]
    assert finished["steps"] == metrics(run)[-1]["step"] == reached + 5
    assert (run / "model").is_dir()

    again = CliRunner().invoke(cli, command(1))
    assert "nothing to do" in again.output
    other = CliRunner().invoke(cli, [*command(1), "--beta", "0.2"])
    assert other.exit_code == 1
    assert "beta was 0.1" in other.output


def test_rows_that_are_no_pairs_are_refused_in_one_line(
    trained: Path, write: Write, tmp_path: Path
) -> None:
    options = ["--data", write("no-pairs", sums(5)), "--base", trained / "model"]
    done = CliRunner().invoke(cli, ["prefer", *map(str, options), "--output", str(tmp_path / "a")])
    assert done.exit_code == 1
    assert "no column chosen, rejected" in done.output


@pytest.mark.parametrize("size", [1, 4, 7])
def test_pairs_of_like_length_stand_together_and_none_is_lost(size: int) -> None:
    made = pairs(50)
    for place, pair in enumerate(made):
        pair["chosen"] = [{"role": "assistant", "content": "x" * (place % 13)}]
    found = list(grouped(made, size=size, seed=3))
    assert sorted(map(str, found)) == sorted(map(str, made))
    lengths = [len(str(pair)) for pair in found[: size * (50 // size)]]
    spread = [max(lengths[i : i + size]) - min(lengths[i : i + size]) for i in range(0, 42, size)]
    assert max(spread) <= 13 if size > 1 else max(spread) == 0
