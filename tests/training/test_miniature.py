"""Whole recipes in small: every stage does what it is for, from rows to a model that answers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
import torch

from cap_server.settings import Settings
from cap_training import models
from cap_training.pipeline import Pipeline
from cap_training.recipe import Recipe
from cap_training.serving import Server
from tests.training.conftest import Row, sums, thorough
from tests.training.talker import Asked, Reply, talking

Write = Callable[[str, list[Row]], Path]
RECIPE = Path(__file__).parent / "miniature.yaml"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def assert_it_learnt(home: Path, *, loss: str) -> None:
    """The loss fell, and stage 2 made what is right likelier than what is wrong."""
    losses = [line["loss"] for line in lines(home / "sft" / "metrics.jsonl") if "loss" in line]
    assert losses[-1] < 0.5 * losses[0]
    run = home / "round-1" / loss
    margins = [
        line["rewards/margins"]
        for line in lines(run / "metrics.jsonl")
        if "rewards/margins" in line
    ]
    assert margins[0] == 0.0
    assert margins[-1] > 0.01


def assert_it_is_whole(home: Path) -> None:
    """The finished folder has what vLLM and people need, and the report tells who answered."""
    model = home / "model"
    assert {each.name for each in model.iterdir()} >= {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    report = json.loads((home / "report" / "report.json").read_text("utf-8"))
    answered = Path(report["facts"]["model"]) / "model.safetensors"
    assert answered.read_bytes() == (model / "model.safetensors").read_bytes()
    outcomes = lines(home / "report" / "outcomes.jsonl")
    assert all(outcome["programs"] == 1 for outcome in outcomes)
    assert (home / "report" / "report.html").stat().st_size > 0
    card = (model / "README.md").read_text("utf-8")
    assert all(part in card for part in ("Stage 1", "SHA-256", "## Figures", "## Limits"))


def writes(folder: Path) -> Reply:
    """The model in `folder` itself, as transformers runs it."""
    model, tokenizer = models.load(folder)
    lock = threading.Lock()

    def reply(asked: Asked) -> str | float:
        if asked.message.endswith("Correct?"):
            return 0.75
        messages = [{"role": "user", "content": asked.message}]
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt"
        )
        with lock, torch.random.fork_rng():
            torch.manual_seed(asked.seed)
            heat = {"do_sample": True, "temperature": asked.temperature}
            told = model.generate(
                **prompt, max_new_tokens=10, **(heat if asked.temperature else {})
            )
        length = prompt["input_ids"].shape[1]
        return str(tokenizer.decode(told[0, length:], skip_special_tokens=True))

    return reply


@asynccontextmanager
async def served_by_transformers(
    model: Path, *, say: Callable[[str], None]
) -> AsyncIterator[Server]:
    with talking(writes(model)) as talker:
        yield Server(talker.url, "cap")


def test_a_recipe_goes_through_all_stages_and_a_second_time_does_nothing(
    write: Write, tmp_path: Path
) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "sums",
            "about": "Sums.",
            "data": {
                "train": [write("whole-train", sums(4000))],
                "dev": [write("whole-dev", sums(20, seed=1))],
                "test": [write("whole-test", sums(12, seed=2))],
            },
            "sft": {
                "layers": 1,
                "width": 64,
                "mlp": 128,
                "vocabulary": 2048,
                "context": 128,
                "batch_tokens": 512,
                "learning_rate": 0.01,
                "epochs": 1,
            },
            "mine": {"rows": 12, "samples": 3, "temperature": 2.0},
            "prefer": {
                "losses": ["sigmoid"],
                "batch_pairs": 2,
                "learning_rate": 0.0003,
                "epochs": 2,
            },
            "evaluate": {"systems": ["greedy"], "compare": False},
        }
    )

    def run() -> list[str]:
        said: list[str] = []
        model = Pipeline(
            recipe, tmp_path, budget_s=None, say=said.append, serve=served_by_transformers
        ).run()
        assert model == tmp_path / "model"
        return said

    first = run()
    stages = [line for line in first if line.startswith("== ")]
    assert [line.split()[1] for line in stages] == [
        "Making",
        "Stage",
        "Round",
        "Round",
        "Evaluating",
    ]
    assert_it_learnt(tmp_path, loss="sigmoid")
    assert_it_is_whole(tmp_path)
    outcomes = lines(tmp_path / "report" / "outcomes.jsonl")
    assert sum(outcome["right"] for outcome in outcomes) > len(outcomes) / 4
    pairs = parquet.read_table(tmp_path / "round-1" / "pairs.parquet").to_pylist()
    assert all(pair["chosen"] != pair["rejected"] for pair in pairs)

    kept = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    second = run()
    assert sum("nothing to do" in line for line in second) == 2
    assert not any(line.startswith("== Evaluating") for line in second)
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == kept


@thorough
@pytest.mark.timeout(1500)
def test_the_miniature_ends_with_a_model_that_answers_through_vllm(tmp_path: Path) -> None:
    if not Settings().engine_python.exists():
        pytest.skip(f"no vLLM at {Settings().engine_python}: run `make setup`")
    command = [sys.executable, "-c", "from cap_training.cli import main; main()", "run"]
    told = [*command, str(RECIPE), "--output", str(tmp_path / "run")]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Starting vLLM") == 2
    assert_it_learnt(tmp_path / "run", loss="sigmoid")
    assert_it_is_whole(tmp_path / "run")
    outcomes = lines(tmp_path / "run" / "report" / "outcomes.jsonl")
    assert any(outcome["answer"] is not None for outcome in outcomes)
    assert json.loads((tmp_path / "run" / "data" / "card.json").read_text("utf-8"))["rows"] > 3000
