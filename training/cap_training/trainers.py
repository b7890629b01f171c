"""What both stages tell TRL's trainers, whichever trainer that is."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from cap_training.pace import Pace


class Asked(Protocol):
    """The options that both stages have."""

    @property
    def epochs(self) -> float: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def lora(self) -> int: ...
    @property
    def seed(self) -> int: ...


def shared(options: Asked, *, output: str, batch: int, passes: int) -> dict[str, Any]:
    """Arguments of a trainer's configuration.

    Args:
        options: of the stage.
        output: the folder for checkpoints.
        batch: items to a pass.
        passes: to a step.
    """
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": output,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": passes,
        "gradient_checkpointing": options.lora > 0,
        "num_train_epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "max_grad_norm": 1.0,
        "bf16": True,
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "logging_strategy": "no",  # `Watch` says when
        "save_strategy": "no",
        "save_total_limit": 2,
        "report_to": [],
        "disable_tqdm": True,
        "seed": options.seed,
        "data_seed": options.seed,
    }


class Paced:
    """A trainer, by inheritance, whose learning rate follows a pace.

    Attributes:
        pace: given before it trains.
    """

    pace: Pace
    optimizer: Any
    lr_scheduler: Any

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, lambda _step: self.pace.rate()
            )
        return self.lr_scheduler

    def create_model_card(self, *args: Any, **more: Any) -> None:
        """Leaves the card to `export`: a checkpoint is nothing to publish."""
