"""Every loss of stage 2: what it asks of TRL, where it starts, and that it does what it is for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from cap_training import models, rows, run
from cap_training.bundles import Bundles
from cap_training.export import export
from cap_training.held_out import completion_logits
from cap_training.loss_names import LossName
from cap_training.losses import loss_of
from cap_training.prefer import PreferOptions, prefer
from cap_training.tokenizer import train_tokenizer
from tests.training.conftest import Row, pairs

Write = Callable[[str, list[Row]], Path]
PAIRS = pairs(16)
BETA = 0.1

# What TRL's documentation says that the loss is called there, and what it takes.
ARGUMENTS: dict[LossName, tuple[type[Any], type[Any], dict[str, Any]]] = {
    "sigmoid": (DPOTrainer, DPOConfig, {"loss_type": ["sigmoid"]}),
    "rpo": (
        DPOTrainer,
        DPOConfig,
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]},
    ),
    "ipo": (DPOTrainer, DPOConfig, {"loss_type": ["ipo"]}),
    "hinge": (DPOTrainer, DPOConfig, {"loss_type": ["hinge"]}),
    "robust": (DPOTrainer, DPOConfig, {"loss_type": ["robust"], "label_smoothing": 0.1}),
    "apo_zero": (DPOTrainer, DPOConfig, {"loss_type": ["apo_zero"]}),
    "apo_down": (DPOTrainer, DPOConfig, {"loss_type": ["apo_down"]}),
    "simpo": (CPOTrainer, CPOConfig, {"loss_type": "simpo", "cpo_alpha": 0.0}),
    "orpo": (ORPOTrainer, ORPOConfig, {}),
    "kto": (KTOTrainer, KTOConfig, {"desirable_weight": 1.0, "undesirable_weight": 1.0}),
}

# The papers' formulas where model and reference are the same: every log-ratio is 0.
AT_THE_REFERENCE: dict[LossName, float] = {
    "sigmoid": math.log(2),
    "ipo": (1 / (2 * BETA)) ** 2,
    "hinge": 1.0,
    "robust": math.log(2),
    "apo_zero": 1.0,
    "apo_down": 1.0,
    "kto": 0.5,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, as small as they come."""
    torch.manual_seed(0)
    sides: list[dict[str, Any]] = [{"a": p["prompt"], "b": p["chosen"]} for p in PAIRS]
    tokenizer = train_tokenizer(rows.texts(sides), vocabulary=2048, context=128)
    model = models.make(models.Shape(layers=1, width=32, mlp=32, context=128), tokenizer)
    folder = tmp_path_factory.mktemp("base") / "model"
    export(model, tokenizer, folder)
    return folder


def margin(folder: Path) -> float:
    """By how many nats, on average, the model finds the chosen text likelier than the rejected."""
    model, tokenizer = models.load(folder)
    with torch.no_grad():
        return likelihood(model, tokenizer, "chosen") - likelihood(model, tokenizer, "rejected")


def likelihood(model: Any, tokenizer: Any, side: str) -> float:
    told = [{"prompt": pair["prompt"], "completion": pair[side]} for pair in PAIRS]
    tokens, _ = rows.tokenize(told, tokenizer, context=128)
    bundles = Bundles(tokens, batch_tokens=4096, pad=tokenizer.pad_token_id, seed=0)
    total = 0.0
    for index in range(len(bundles)):
        labels = bundles[index]["labels"][:, 1:]
        asked = labels >= 0
        logits = completion_logits(model, bundles[index]["input_ids"], asked)
        total -= float(torch.nn.functional.cross_entropy(logits, labels[asked], reduction="sum"))
    return total / len(PAIRS)


def test_every_loss_is_here() -> None:
    assert set(ARGUMENTS) == set(get_args(LossName))


@pytest.mark.parametrize("name", get_args(LossName))
def test_a_loss_asks_trl_for_what_it_is_called_there(name: LossName, tmp_path: Path) -> None:
    run.prepare(0)
    trainer, config, expected = ARGUMENTS[name]
    loss = loss_of(name, nll=0.5)
    assert (loss.trainer, loss.config) == (trainer, config)
    assert loss.paired == (name != "kto")
    made = loss.config(
        output_dir=str(tmp_path), beta=BETA, use_cpu=True, bf16=False, **loss.settings
    )
    assert {field: getattr(made, field) for field in expected} == expected
    assert made.beta == BETA


@pytest.mark.parametrize("name", get_args(LossName))
def test_a_few_steps_make_the_chosen_likelier_than_the_rejected(
    name: LossName, base: Path, write: Write, tmp_path: Path
) -> None:
    options = PreferOptions(
        data=(write(f"pairs-{name}", PAIRS),),
        output=tmp_path / "run",
        base=base,
        loss=name,
        beta=BETA,
        epochs=4,
        batch_pairs=8,
        learning_rate=3e-3,
        context=128,
    )
    model = prefer(options, say=lambda _line: None)
    assert margin(model) > margin(base) + 0.1
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    assert (first["step"], last["step"]) == (1, 8)
    if name in AT_THE_REFERENCE:
        assert first["loss"] == pytest.approx(AT_THE_REFERENCE[name], rel=0.01)
    if name == "rpo":
        assert first["loss"] > math.log(2) + 1  # and the chosen text's likelihood
    assert last["rewards/margins"] > max(0.0, first["rewards/margins"])
