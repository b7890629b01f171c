"""`cap-train prefer`: stage 2."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from cap_training.commands.options import (
    Budget,
    Context,
    Data,
    Epochs,
    HeldOut,
    Lora,
    MeasureEvery,
    Output,
    SaveEvery,
    Seed,
    reporting,
)
from cap_training.loss_names import LossName


def prefer_(
    data: Data,
    base: Annotated[str, typer.Option(help="The model of stage 1.")],
    output: Output,
    loss: Annotated[
        LossName, typer.Option(help=f"{', '.join(get_args(LossName))}: see docs/training.md.")
    ] = "rpo",
    held_out: HeldOut = None,
    beta: Annotated[float, typer.Option(min=0, help="How dear it is to leave the base.")] = 0.1,
    nll: Annotated[
        float, typer.Option(min=0, help="Weight of the chosen's likelihood, rpo.")
    ] = 1.0,
    epochs: Epochs = 1.0,
    budget: Budget = None,
    batch_pairs: Annotated[int, typer.Option(min=1, help="Pairs a step.")] = 64,
    micro_pairs: Annotated[int, typer.Option(min=0, help="Pairs a pass; 0: as a step.")] = 0,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 2e-5,
    context: Context = 1024,
    lora: Lora = 0,
    patience: Annotated[
        int, typer.Option(min=0, help="Measurements without a better one until the end; 0: none.")
    ] = 3,
    seed: Seed = 0,
    save_every: SaveEvery = None,
    measure_every: MeasureEvery = None,
) -> None:
    """Optimise on pairs of a right and a wrong refinement. The same command goes on after a kill.

    With --held-out the model that comes out is the best of all that were measured, the base
    included.
    """
    from cap_training.prefer import PreferOptions, prefer

    options = PreferOptions(
        data=tuple(data),
        output=output,
        base=base,
        loss=loss,
        held_out=tuple(held_out or ()),
        beta=beta,
        nll=nll,
        epochs=epochs,
        budget_s=budget,
        batch_pairs=batch_pairs,
        micro_pairs=micro_pairs,
        learning_rate=learning_rate,
        context=context,
        lora=lora,
        seed=seed,
        patience=patience,
        save_every_s=save_every or 300.0,
        measure_every_s=measure_every or 120.0,
    )
    with reporting():
        prefer(options)
