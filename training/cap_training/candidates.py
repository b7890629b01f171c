"""Which of several models goes on: the one that writes most of the dev set's rows to the letter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cap_training import models, rows
from cap_training.bundles import Bundles
from cap_training.extrapolate import extrapolate
from cap_training.held_out import measure

_BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Candidate:
    """A model, and the run that made it; None for the one that was there before.

    Attributes:
        exact: the share of dev rows that it writes to the letter.
    """

    name: str
    model: Path
    run: Path | None
    exact: float


def best(
    before: Path,
    found: Mapping[str, Path],
    home: Path,
    alphas: Sequence[float],
    dev: Sequence[Path],
    *,
    say: Callable[[str], None],
) -> Candidate:
    """The best of `before`, those `found`, and the best one's extrapolations.

    Args:
        before: the model that the others started from.
        found: models by the name of their loss.
        home: where extrapolated models are kept.
        alphas: of ExPO.
        dev: Parquet files of rows.
        say: is told every candidate.
    """

    def candidate(name: str, model: Path, run: Path | None) -> Candidate:
        made = Candidate(name, model, run, exact(model, dev))
        say(f"  {name}: {made.exact:.4f} of the dev rows to the letter")
        return made

    tried = [candidate("as before", before, None)]
    tried += [candidate(name, model, model.parent) for name, model in found.items()]
    if len(tried) > 1:
        # A step beyond is a step from `before`: the best of the new ones gives the direction.
        ahead = max(tried[1:], key=lambda each: each.exact)
        for alpha in alphas:
            folder = home / f"expo-{alpha:g}" / "model"
            if not folder.exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                extrapolate(before, ahead.model, folder, alpha=alpha)
            tried.append(candidate(f"{ahead.name} and ExPO {alpha:g}", folder, ahead.run))
    return max(tried, key=lambda each: each.exact)


def exact(model: Path, dev: Sequence[Path]) -> float:
    """The share of `dev`'s rows that the model in the folder `model` writes to the letter."""
    on_gpu = torch.cuda.is_available()
    loaded, tokenizer = models.load(model, frozen=on_gpu)
    tokens, _ = rows.tokenize(
        rows.read(dev, ("prompt", "completion")), tokenizer, context=tokenizer.model_max_length
    )
    bundles = Bundles(tokens, batch_tokens=_BATCH_TOKENS, pad=tokenizer.pad_token_id, seed=0)
    return float(measure(loaded.to("cuda") if on_gpu else loaded, bundles)["held_out/exact"])
