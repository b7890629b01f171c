"""Stage 2: preference optimisation on pairs of a right and a wrong refinement.

TRL's trainers (`losses.py`). Pairs of like length stand side by side; held-out rows say when to
stop, since the preference accuracy rises long after refinement has begun to suffer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from cap_training import models, rows, run
from cap_training.budget import Clock
from cap_training.bundles import Bundles
from cap_training.export import export
from cap_training.failures import RowsError
from cap_training.held_out import measure
from cap_training.loss_names import LossName
from cap_training.losses import Loss, loss_of
from cap_training.pace import Pace
from cap_training.trainers import Paced, shared
from cap_training.watch import Best, Watch

_HELD_OUT_TOKENS = 8192


@dataclass(frozen=True)
class PreferOptions:
    """What to train further, on which pairs.

    Attributes:
        data: Parquet files of preference rows: `prompt`, `chosen`, `rejected`.
        base: the model of stage 1, which is the reference too.
        held_out: Parquet files of prompt–completion rows; what the run is stopped by.
        beta: how dear it is to leave the reference; for IPO the regularisation τ.
        nll: weight of the chosen text's likelihood, for `rpo`.
        micro_pairs: per pass; 0: all pairs of a step at once.
        patience: measurements without a better one before the run ends; 0: never.
    """

    data: tuple[Path, ...]
    output: Path
    base: Path | str
    loss: LossName = "rpo"
    held_out: tuple[Path, ...] = ()
    beta: float = 0.1
    nll: float = 1.0
    epochs: float = 1.0
    budget_s: float | None = None
    batch_pairs: int = 64
    micro_pairs: int = 0
    learning_rate: float = 2e-5
    weight_decay: float = 0.0
    context: int = 1024
    lora: int = 0
    seed: int = 0
    patience: int = 3
    save_every_s: float = 300.0
    measure_every_s: float = 120.0


def prefer(options: PreferOptions, *, say: Callable[[str], None] = run.say) -> Path:
    """Trains, or goes on training, and exports the best model by the held-out rows.

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
    model, tokenizer = models.load(options.base, frozen=options.lora > 0)
    loss = loss_of(options.loss, nll=options.nll)
    data = _data(options, loss)
    resumed = folder.resume(clock)
    if resumed:
        say(f"Going on from {resumed.path.name}.")
    pace = Pace(
        clock,
        total_steps=math.ceil(len(data) / _per_step(options, loss) * options.epochs),
        budget_s=options.budget_s,
        tokens=resumed.tokens if resumed else 0,
    )
    best = Best(folder.path / "best", tokenizer, patience=options.patience)
    watch = Watch(
        folder.path,
        pace,
        save_every_s=options.save_every_s,
        held_out=_held_out(options, tokenizer),
        measure_every_s=options.measure_every_s,
        best=best,
        say=say,
    )
    say(f"{len(data):,} {'pairs' if loss.paired else 'texts'}, loss {options.loss}.")
    trainer = type("PacedTrainer", (Paced, loss.trainer), {})(
        model=model,
        args=_config(options, loss, folder),
        train_dataset=data,
        processing_class=tokenizer,
        callbacks=[watch],
        peft_config=models.adapter(options.lora),
    )
    trainer.pace = pace
    run.quiet(trainer)
    if resumed is None:
        watch.measure(trainer.model)  # the model of stage 1 competes too
    trainer.train(resume_from_checkpoint=str(resumed.path) if resumed else None)
    facts = watch.measure(trainer.model)
    if best.folder.is_dir():
        best.promote(folder.model)
    else:
        export(trainer.model, tokenizer, folder.model)
    folder.finish(pace, **facts, best_step=best.step)
    return folder.model


def _data(options: PreferOptions, loss: Loss) -> Dataset:
    pairs = list(rows.read(options.data, ("prompt", "chosen", "rejected")))
    if not pairs:
        raise RowsError(f"{', '.join(map(str, options.data))}: no pairs")
    ordered = list(grouped(pairs, size=_micro(options), seed=options.seed))
    if loss.paired:
        return Dataset.from_list(ordered)
    return Dataset.from_list([text for pair in ordered for text in _apart(pair)])


def grouped(
    pairs: Sequence[Mapping[str, Any]], *, size: int, seed: int
) -> Iterator[Mapping[str, Any]]:
    """The pairs in groups of like length, the groups in random order."""
    chance = random.Random(seed)
    by_length = sorted(pairs, key=lambda pair: (_length(pair), chance.random()))
    groups = [by_length[begin : begin + size] for begin in range(0, len(by_length), size)]
    for group in chance.sample(groups, len(groups)):
        yield from group


def _length(pair: Mapping[str, Any]) -> int:
    texts = (*pair["prompt"], *pair["chosen"], *pair["rejected"])
    return sum(len(message["content"]) for message in texts)


def _apart(pair: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for side, label in (("chosen", True), ("rejected", False)):
        yield {"prompt": pair["prompt"], "completion": pair[side], "label": label}


def _held_out(options: PreferOptions, tokenizer: Any) -> Any:
    if not options.held_out:
        return None
    read = rows.read(options.held_out, ("prompt", "completion"))
    tokens, _ = rows.tokenize(read, tokenizer, context=options.context)
    bundles = Bundles(
        tokens, batch_tokens=_HELD_OUT_TOKENS, pad=tokenizer.pad_token_id, seed=options.seed
    )
    return lambda model: measure(model, bundles)


def _micro(options: PreferOptions) -> int:
    return options.micro_pairs or options.batch_pairs


def _per_step(options: PreferOptions, loss: Loss) -> int:
    return options.batch_pairs if loss.paired else 2 * options.batch_pairs


def _config(options: PreferOptions, loss: Loss, folder: run.Folder) -> Any:
    micro = _micro(options)
    return loss.config(
        **shared(
            options,
            output=str(folder.checkpoints),
            batch=micro if loss.paired else 2 * micro,
            passes=max(1, options.batch_pairs // micro),
        ),
        weight_decay=options.weight_decay,
        max_length=options.context,
        beta=options.beta,
        train_sampling_strategy="sequential",  # `grouped` has mixed them
        **loss.settings,
    )
