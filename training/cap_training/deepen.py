"""A deeper model that at first says what the shallower one says.

Copies of layers stand behind their originals, with nothing coming out of their two output matrices
until training changes that. Source: block expansion, LLaMA Pro, arXiv 2401.02415.
"""

from __future__ import annotations

import copy
from pathlib import Path

from torch import nn

from cap_training import models
from cap_training.export import export
from cap_training.failures import RunError


def deepen(base: Path, output: Path, *, layers: int) -> Path:
    """Writes a model with `layers` layers to `output`.

    Args:
        base: the folder of a Llama.
        output: the folder to write.
        layers: more than it has, and at most twice as many.

    Raises:
        RunError: it is no Llama, cannot have so many layers, or `output` is there already.
    """
    if output.exists():
        raise RunError(f"{output} is there already.")
    model, tokenizer = models.load(base, frozen=True)
    have = model.config.num_hidden_layers
    if model.config.model_type != "llama":
        raise RunError(f"{base} is a {model.config.model_type}; only a llama can be deepened.")
    if not have < layers <= 2 * have:
        raise RunError(f"{base} has {have} layers; {have + 1} to {2 * have} are allowed.")
    inner = model.model
    inner.layers = nn.ModuleList(
        _silent(inner.layers[at]) if is_copy else inner.layers[at]
        for at, is_copy in order(have, layers)
    )
    model.config.num_hidden_layers = layers
    export(model, tokenizer, output)
    return output


def _silent(layer: nn.Module) -> nn.Module:
    """A copy of a layer that adds nothing to what goes through it."""
    twin = copy.deepcopy(layer)
    for matrix in (twin.self_attn.o_proj, twin.mlp.down_proj):
        for weights in matrix.parameters():
            nn.init.zeros_(weights)
    return twin


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
