"""The losses of preference optimisation: which trainer of TRL's, with which settings.

| name | what it adds to DPO (arXiv 2305.18290) |
|---|---|
| `sigmoid` | DPO itself |
| `rpo` | and the likelihood of the chosen, which else falls with the rejected (2404.19733) |
| `ipo` | a bounded margin, which cannot be overfitted without end (2310.12036) |
| `hinge` | no more push once the margin is there (SLiC, 2305.10425) |
| `robust` | expects that some pairs are the wrong way round (2403.00409) |
| `apo_zero`, `apo_down` | for chosen texts better, or worse, than the model's own (2408.06266) |
| `simpo` | no reference model, likelihood per token (2405.14734) |
| `orpo` | no reference model, fine-tuning with odds (2403.07691) |
| `kto` | texts that are good or bad by themselves, without pairs (2402.01306) |
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

# SimPO's and ORPO's trainers sit there, and say so at every import.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
import trl.trainer.utils
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from cap_training.loss_names import LossName

if not torch.cuda.is_available():
    # TRL scores every position where there is no Triton, for the sake of accelerators that compile
    # anew for every shape. A CPU does not, and two thirds of the positions are prompts.
    trl.trainer.utils._use_triton = lambda _device: True


@dataclass(frozen=True)
class Loss:
    """A trainer, its configuration's class, and what the loss sets in it.

    Attributes:
        paired: whether it takes pairs; else texts with a label.
        settings: besides `beta`.
    """

    trainer: type[Any]
    config: type[Any]
    paired: bool = True
    settings: dict[str, Any] = field(default_factory=dict)


def loss_of(name: LossName, *, nll: float) -> Loss:
    """The loss of that name.

    Args:
        name: one of `LossName`.
        nll: weight of the chosen text's likelihood, for `rpo`.
    """
    if name == "rpo":
        settings = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, nll]}
        return Loss(DPOTrainer, DPOConfig, settings=settings)
    return _LOSSES[name]


def _dpo(loss_type: str, **settings: Any) -> Loss:
    return Loss(DPOTrainer, DPOConfig, settings={"loss_type": [loss_type], **settings})


_LOSSES: dict[str, Loss] = {
    "sigmoid": _dpo("sigmoid"),
    "ipo": _dpo("ipo"),
    "hinge": _dpo("hinge"),
    "robust": _dpo("robust", label_smoothing=0.1),
    "apo_zero": _dpo("apo_zero"),
    "apo_down": _dpo("apo_down"),
    "simpo": Loss(CPOTrainer, CPOConfig, settings={"loss_type": "simpo", "cpo_alpha": 0.0}),
    "orpo": Loss(ORPOTrainer, ORPOConfig),
    "kto": Loss(KTOTrainer, KTOConfig, paired=False),
}
