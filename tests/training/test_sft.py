"""Stage 1, from rows to a model; and a run that is killed on the way."""

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

from cap_training import models
from cap_training.failures import RowsError, RunError
from cap_training.sft import SftOptions, sft
from tests.training.conftest import Row, sums

Write = Callable[[str, list[Row]], Path]
SHAPE = models.Shape(layers=1, width=32, mlp=32, vocabulary=2048, context=128)


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def quietly(options: SftOptions) -> list[str]:
    said: list[str] = []
    sft(options, say=said.append)
    return said


def test_the_loss_falls_and_the_rows_are_learnt(trained: Path) -> None:
    losses = [line["loss"] for line in metrics(trained) if "loss" in line]
    assert losses[-1] < 0.5 * losses[0]
    assert json.loads((trained / "run.json").read_text())["finished"]["held_out/exact"] > 0.9


def test_the_run_leaves_what_others_need(trained: Path) -> None:
    record = json.loads((trained / "run.json").read_text())
    assert len(record["data"]) == 2
    assert record["finished"]["tokens"] > 0
    assert list((trained / "tensorboard").iterdir())
    assert not (trained / "checkpoints").exists()
    model, tokenizer = models.load(trained / "model")
    asked = tokenizer.apply_chat_template(sums(1)[0]["prompt"], add_generation_prompt=True)
    assert model.config.use_cache
    assert asked["input_ids"][-1] == tokenizer.convert_tokens_to_ids("<|assistant|>")


def test_a_finished_run_is_left_alone_and_other_options_are_refused(
    trained: Path, write: Write
) -> None:
    options = json.loads((trained / "run.json").read_text())["options"]
    again = SftOptions(
        data=tuple(map(Path, options["data"])),
        output=trained,
        held_out=tuple(map(Path, options["held_out"])),
        shape=models.Shape(**options["shape"]),
        batch_tokens=options["batch_tokens"],
        learning_rate=options["learning_rate"],
    )
    assert "nothing to do" in quietly(again)[0]
    with pytest.raises(RunError, match="seed was 0"):
        quietly(SftOptions(**{**vars(again), "seed": 5}))


def test_rows_that_cannot_be_used_are_named(tmp_path: Path, write: Write) -> None:
    missing = tmp_path / "missing.parquet"
    with pytest.raises(RunError, match=r"missing\.parquet"):
        quietly(SftOptions(data=(missing,), output=tmp_path / "a"))
    wrong = write("no-completion", [{"prompt": sums(1)[0]["prompt"]}])
    with pytest.raises(RowsError, match="completion"):
        quietly(SftOptions(data=(wrong,), output=tmp_path / "b"))
    no_parquet = tmp_path / "text.parquet"
    no_parquet.write_text("not Parquet")
    with pytest.raises(RowsError, match=r"text\.parquet"):
        quietly(SftOptions(data=(no_parquet,), output=tmp_path / "c"))


def test_a_model_goes_on_with_an_adapter_which_is_worked_into_its_weights(
    trained: Path, write: Write, tmp_path: Path
) -> None:
    options = SftOptions(
        data=(write("more-sums", sums(64)),),
        output=tmp_path / "lora",
        base=trained / "model",
        lora=4,
        optimizer="adamw",
        learning_rate=1e-2,
        shape=SHAPE,
        batch_tokens=512,
        micro_tokens=256,
    )
    quietly(options)
    before, _ = models.load(trained / "model")
    after, _ = models.load(options.output / "model")
    old, new = before.state_dict(), after.state_dict()
    assert old.keys() == new.keys()
    assert any(not old[name].equal(new[name]) for name in old)
    assert not list((options.output / "model").glob("adapter*"))


def test_a_killed_run_goes_on_from_its_last_whole_checkpoint(write: Write, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [
        sys.executable, "-c", "from cap_training.cli import main; main()", "sft",
        "--data", str(write("sums-to-kill", sums(20_000))), "--output", str(run),
        "--layers", "1", "--width", "32", "--mlp", "32", "--vocabulary", "2048",
        "--context", "128", "--batch-tokens", "256", "--save-every", "0.5s", "--no-compile",
        "--max-tokens", "200000",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE) as killed:
        while not list(run.glob("checkpoints/*/clock.json")) and killed.poll() is None:
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
    reached = max(int(p.name.rpartition("-")[2]) for p in run.glob("checkpoints/*"))
    torn = run / "checkpoints" / f"checkpoint-{reached + 100}"  # as a kill leaves one
    torn.mkdir()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Going on from checkpoint-" in done.stderr
    assert str(torn.name) not in done.stderr
    finished = json.loads((run / "run.json").read_text())["finished"]
    assert finished["tokens"] >= 200_000
    steps = [line["step"] for line in metrics(run)]
    assert finished["steps"] == steps[-1] > reached
