"""`cap-train sft`: stage 1."""

from __future__ import annotations

from typing import Annotated

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


def sft_(
    data: Data,
    output: Output,
    base: Annotated[
        str | None, typer.Option(help="Model to start from; none: from nothing.")
    ] = None,
    held_out: HeldOut = None,
    layers: Annotated[int, typer.Option(min=1, help="Of a model made from nothing.")] = 4,
    width: Annotated[int, typer.Option(min=32, help="Of its hidden states.")] = 256,
    mlp: Annotated[int, typer.Option(min=32, help="Of its feed-forward layers.")] = 640,
    vocabulary: Annotated[int, typer.Option(min=2048, help="Tokens at most.")] = 4096,
    context: Context = 1024,
    epochs: Epochs = 1.0,
    budget: Budget = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens, at most.")] = None,
    batch_tokens: Annotated[int, typer.Option(min=256, help="Tokens a step.")] = 8192,
    micro_tokens: Annotated[int, typer.Option(min=0, help="Tokens a pass; 0: as a step.")] = 0,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
    weight_decay: Annotated[float, typer.Option(min=0)] = 0.05,
    lora: Lora = 0,
    seed: Seed = 0,
    compile: Annotated[bool | None, typer.Option(help="Compile; where it pays if unset.")] = None,
    save_every: SaveEvery = None,
    measure_every: MeasureEvery = None,
) -> None:
    """Fine-tune on prompt-completion rows. The same command goes on where a killed run was."""
    from cap_training.models import Shape
    from cap_training.sft import SftOptions, sft

    adapted = lora > 0
    options = SftOptions(
        data=tuple(data),
        output=output,
        base=base,
        held_out=tuple(held_out or ()),
        shape=Shape(layers, width, mlp, vocabulary=vocabulary, context=context),
        epochs=epochs,
        budget_s=budget,
        max_tokens=max_tokens,
        batch_tokens=batch_tokens,
        micro_tokens=micro_tokens,
        learning_rate=learning_rate or (2e-4 if adapted else 3e-3 if base is None else 3e-4),
        weight_decay=weight_decay,
        lora=lora,
        optimizer="adamw" if adapted else "muon",
        seed=seed,
        compile=compile,
        save_every_s=save_every or 300.0,
        measure_every_s=measure_every or 900.0,
    )
    with reporting():
        sft(options)
