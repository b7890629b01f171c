"""A step further in the direction of preference optimisation, for the price of an addition.

θ = θ₂ + α (θ₂ − θ₁), where θ₁ is the model before stage 2 and θ₂ the one after it. Source: ExPO,
arXiv 2404.16792.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cap_training import models
from cap_training.export import export
from cap_training.failures import RunError


def extrapolate(before: Path, after: Path, output: Path, *, alpha: float) -> Path:
    """Writes the extrapolated model to `output`.

    Args:
        before: the folder of stage 1's model.
        after: of stage 2's.
        output: the folder to write.
        alpha: how much further; 0 gives `after`, -1 gives `before`.

    Raises:
        RunError: the two models differ in more than their numbers.
    """
    first, _ = models.load(before, frozen=True)  # as both lie on disk
    model, tokenizer = models.load(after, frozen=True)
    model.load_state_dict(further(first.state_dict(), model.state_dict(), alpha=alpha))
    export(model, tokenizer, output)
    return output


def further(before: Mapping[str, Any], after: Mapping[str, Any], *, alpha: float) -> dict[str, Any]:
    """The weights beyond `after`, as seen from `before`."""
    shapes = [{name: tuple(t.shape) for name, t in each.items()} for each in (before, after)]
    if shapes[0] != shapes[1]:
        raise RunError("The two models are not of the same shape.")
    return {
        name: torch.lerp(before[name].float(), weight.float(), 1 + alpha).to(weight.dtype)
        for name, weight in after.items()
    }
