"""How well a model continues rows that it does not train on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from cap_training.bundles import IGNORED, Bundles
from cap_training.models import causal


@torch.no_grad()
def measure(model: Any, bundles: Bundles) -> Mapping[str, float]:
    """Measures loss and accuracy on `bundles`.

    Returns:
        `held_out/loss`: nats per completion token. `held_out/token`: the share of completion tokens
        that the model finds most likely. `held_out/exact`: the share of rows where that holds for
        all of them, so that greedy decoding would write the completion to the letter.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    sums = torch.zeros(5, dtype=torch.float64)
    for index in range(len(bundles)):
        sums += _sums(model, {k: v.to(device) for k, v in bundles[index].items()})
    model.train(was_training)
    loss, right, tokens, exact, rows = sums.tolist()
    return {
        "held_out/loss": loss / max(1, tokens),
        "held_out/token": right / max(1, tokens),
        "held_out/exact": exact / max(1, rows),
    }


def _sums(model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    labels = batch["labels"][:, 1:]
    asked = labels != IGNORED
    with torch.autocast(labels.device.type, dtype=torch.bfloat16):
        logits = completion_logits(model, batch["input_ids"], asked)
    wanted = labels[asked]
    loss = functional.cross_entropy(logits.float(), wanted, reduction="sum")
    right = torch.zeros_like(asked)
    right[asked] = logits.argmax(-1) == wanted
    exact = (right == asked).all(dim=1).sum()
    values = (loss, right.sum(), asked.sum(), exact, len(labels))
    return torch.tensor([float(value) for value in values], dtype=torch.float64)


def completion_logits(model: Any, ids: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Logits at the places of `asked` (one column shorter than `ids`), and no others.

    Prompts are two thirds of the tokens, and the vocabulary's matrix is a third of a small model's
    work: not multiplying it where no loss is asked for saves a fifth of the time.
    """
    whole = causal(model)
    hidden = whole.base_model(input_ids=ids, use_cache=False).last_hidden_state
    logits: torch.Tensor = whole.get_output_embeddings()(hidden[:, :-1][asked])
    return logits
