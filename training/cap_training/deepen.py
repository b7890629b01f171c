"""A deeper model that at first says what the shallower one says.

Copies of layers stand behind their originals, with nothing coming out of their two output matrices
until training changes that. Source: block expansion, LLaMA Pro, arXiv 2401.02415.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from cap_training import models
from cap_training.export import export
from cap_training.failures import RunError

_LAYER = re.compile(r"^model\.layers\.(\d+)\.")
_OUTPUTS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")


def deepen(base: Path, output: Path, *, layers: int) -> Path:
    """Writes a model with `layers` layers to `output`.

    Args:
        base: the folder of a Llama.
        output: the folder to write.
        layers: more than it has, and at most twice as many.

    Raises:
        RunError: it is no Llama, or cannot have so many layers.
    """
    model, tokenizer = models.load(base, frozen=True)
    config = model.config
    have = config.num_hidden_layers
    if config.model_type != "llama":
        raise RunError(f"{base} is a {config.model_type}; only a llama can be deepened.")
    if not have < layers <= 2 * have:
        raise RunError(f"{base} has {have} layers; {have + 1} to {2 * have} are allowed.")
    weights = model.state_dict()
    sources = order(have, layers)
    deeper = {name: w for name, w in weights.items() if not _LAYER.match(name)}
    for place, (source, is_copy) in enumerate(sources):
        mark = f"model.layers.{source}."
        for name, weight in weights.items():
            if name.startswith(mark):
                part = name.removeprefix(mark)
                nothing = is_copy and part in _OUTPUTS
                kept = torch.zeros_like(weight) if nothing else weight.clone()
                deeper[f"model.layers.{place}.{part}"] = kept
    config.num_hidden_layers = layers
    grown = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    grown.load_state_dict(deeper)
    export(grown, tokenizer, output)
    return output


def order(have: int, want: int) -> list[tuple[int, bool]]:
    """Which layer stands where, from below: its number, and whether it is a copy.

    The copies are spread evenly.

    >>> order(3, 4)
    [(0, False), (1, False), (1, True), (2, False)]
    """
    more = want - have
    copied = {(2 * at + 1) * have // (2 * more) for at in range(more)}
    return [
        (layer, is_copy)
        for layer in range(have)
        for is_copy in ((False, True) if layer in copied else (False,))
    ]
