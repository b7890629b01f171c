"""Stage 1: fine-tuning on prompt–completion rows, the loss on the completion only.

TRL's `SFTTrainer`, fed with batches of rows of equal length (`bundles.py`) in place of its packing:
as little padding, no row that sees another, and no kernel that only some GPUs have.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn import functional
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from cap_training import models, rows, run
from cap_training.budget import Clock
from cap_training.bundles import IGNORED, Bundles
from cap_training.export import export
from cap_training.failures import RowsError
from cap_training.held_out import completion_logits, measure
from cap_training.optimizer import MuonAdamW
from cap_training.pace import Pace
from cap_training.tokenizer import train_tokenizer
from cap_training.trainers import Paced, shared
from cap_training.watch import HeldOut, Watch

_COMPILE_FROM_S = 1800.0
_COMPILE_FROM_TOKENS = 5_000_000
"""Where time has no limit: compiling takes minutes on a busy CPU."""
_TOKENIZER_ROWS = 100_000


@dataclass(frozen=True)
class SftOptions:
    """What to train, on what, for how long.

    Attributes:
        data: Parquet files of prompt–completion rows.
        base: the model to start from; None: one of `shape` with random weights.
        held_out: Parquet files of rows to measure on.
        batch_tokens: per step, padding included.
        micro_tokens: per forward pass; 0: all of the step at once.
        budget_s: wall-clock seconds, those of earlier, killed runs included; None: no limit.
        lora: the adapter's rank; 0: all weights are trained.
        optimizer: `muon` for whole matrices; `adamw` for adapters and for gentle changes.
        compile: whether torch compiles the network; None: where the run is long enough to gain.
    """

    data: tuple[Path, ...]
    output: Path
    base: Path | str | None = None
    held_out: tuple[Path, ...] = ()
    shape: models.Shape = field(default_factory=models.Shape)
    epochs: float = 1.0
    budget_s: float | None = None
    max_tokens: int | None = None
    batch_tokens: int = 8192
    micro_tokens: int = 0
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    lora: int = 0
    optimizer: Literal["muon", "adamw"] = "muon"
    seed: int = 0
    compile: bool | None = None
    save_every_s: float = 300.0
    measure_every_s: float = 900.0


class BundleTrainer(Paced, SFTTrainer):
    """`SFTTrainer` on bundles: counts tokens, and spares a CPU the vocabulary's matrix."""

    def __init__(self, *args: Any, pace: Pace, options: SftOptions, **more: Any) -> None:
        self.pace, self._options = pace, options
        super().__init__(*args, **more)

    def create_optimizer(self, model: Any = None) -> Any:
        if self.optimizer is None:
            self.optimizer = _optimizer(self.model if model is None else model, self._options)
        return self.optimizer

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        ids, labels = inputs["input_ids"], inputs["labels"]
        self.pace.tokens += int((ids != self.processing_class.pad_token_id).sum())
        if ids.device.type != "cpu":
            places = torch.arange(ids.shape[1], device=ids.device)[None]
            fed = {**inputs, "position_ids": places}
            return super().compute_loss(model, fed, return_outputs, num_items_in_batch)
        asked = labels[:, 1:] != IGNORED
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.args.bf16):
            logits = completion_logits(model, ids, asked)
        loss = functional.cross_entropy(logits.float(), labels[:, 1:][asked], reduction="sum")
        return loss / (num_items_in_batch if num_items_in_batch is not None else asked.sum())


def sft(options: SftOptions, *, say: Callable[[str], None] = run.say) -> Path:
    """Trains, or goes on training, and exports.

    Returns:
        The folder of the model.

    Raises:
        RowsError: the data cannot be used.
        RunError: the folder holds a run with other options.
    """
    clock, folder = Clock(), run.Folder(options.output)
    if folder.is_done(options):
        say(f"{folder.model} is finished; nothing to do.")
        return folder.model
    folder.begin(options, files=(*options.data, *options.held_out))
    run.prepare(options.seed)
    model, tokenizer = _model(options, folder)
    bundles = _bundles(options.data, tokenizer, options)
    say(
        f"{models.parameters(model):,} parameters; {bundles.rows:,} rows of "
        f"{bundles.tokens:,} tokens, {bundles.dropped:,} too long; padding {bundles.waste():.1%}."
    )
    resumed = folder.resume(clock)
    if resumed:
        say(f"Going on from {resumed.path.name}.")
    pace = Pace(
        clock,
        total_steps=math.ceil(len(bundles) * options.epochs / _accumulation(options)),
        budget_s=options.budget_s,
        max_tokens=options.max_tokens,
        tokens=resumed.tokens if resumed else 0,
    )
    held_out = _held_out(options, tokenizer)
    watch = Watch(
        folder.path,
        pace,
        save_every_s=options.save_every_s,
        held_out=held_out,
        measure_every_s=options.measure_every_s,
        say=say,
    )
    if _compiles(options, bundles):
        model.base_model.compile(dynamic=True)
    trainer = BundleTrainer(
        model=model,
        args=_config(options, folder),
        train_dataset=bundles.numbered(),
        data_collator=bundles.collate,
        processing_class=tokenizer,
        callbacks=[watch],
        peft_config=models.adapter(options.lora),
        pace=pace,
        options=options,
    )
    run.quiet(trainer)
    trainer.train(resume_from_checkpoint=str(resumed.path) if resumed else None)
    facts = watch.measure(trainer.model)
    export(trainer.model, tokenizer, folder.model)
    folder.finish(pace, parameters=models.parameters(model), **facts)
    return folder.model


def _model(options: SftOptions, folder: run.Folder) -> tuple[Any, Any]:
    if options.base is not None:
        return models.load(options.base, frozen=options.lora > 0)
    kept = folder.path / "tokenizer"
    if kept.is_dir():  # a run that goes on must not number its tokens anew
        tokenizer = AutoTokenizer.from_pretrained(kept)
    else:
        sample = itertools.islice(_read(options.data), _TOKENIZER_ROWS)
        tokenizer = train_tokenizer(
            rows.texts(sample),
            vocabulary=options.shape.vocabulary,
            context=options.shape.context,
        )
        unfinished = kept.with_name("tokenizer.new")
        tokenizer.save_pretrained(unfinished)
        unfinished.replace(kept)
    return models.make(options.shape, tokenizer), tokenizer


def _read(files: Sequence[Path]) -> Iterator[dict[str, list[rows.Message]]]:
    return rows.read(files, ("prompt", "completion"))


def _bundles(files: Sequence[Path], tokenizer: Any, options: SftOptions) -> Bundles:
    tokens, dropped = rows.tokenize(_read(files), tokenizer, context=options.shape.context)
    if not len(tokens):
        raise RowsError(f"{', '.join(map(str, files))}: no row fits; {dropped} are too long")
    return Bundles(
        tokens,
        batch_tokens=options.micro_tokens or options.batch_tokens,
        pad=tokenizer.pad_token_id,
        seed=options.seed,
        dropped=dropped,
    )


def _held_out(options: SftOptions, tokenizer: Any) -> HeldOut | None:
    if not options.held_out:
        return None
    bundles = _bundles(options.held_out, tokenizer, options)
    return lambda model: measure(model, bundles)


def _accumulation(options: SftOptions) -> int:
    return max(1, options.batch_tokens // (options.micro_tokens or options.batch_tokens))


def _compiles(options: SftOptions, bundles: Bundles) -> bool:
    if options.compile is not None:
        return options.compile
    tokens = min(bundles.tokens * options.epochs, options.max_tokens or math.inf)
    long_s = (options.budget_s or math.inf) >= _COMPILE_FROM_S
    return options.lora == 0 and long_s and tokens >= _COMPILE_FROM_TOKENS


def _optimizer(model: Any, options: SftOptions) -> Any:
    lr, decay = options.learning_rate, options.weight_decay
    if options.optimizer == "muon":
        return MuonAdamW(model, lr=lr, weight_decay=decay)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=lr, weight_decay=decay)


def _config(options: SftOptions, folder: run.Folder) -> SFTConfig:
    return SFTConfig(
        **shared(
            options,
            output=str(folder.checkpoints),
            batch=1,  # bundle
            passes=_accumulation(options),
        ),
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
    )
