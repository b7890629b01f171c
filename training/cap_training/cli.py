"""The `cap-train` command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from cap_training.budget import seconds

cli = typer.Typer(
    help="Train a CaP model: data, fine-tuning, preference optimisation, evaluation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_err = Console(stderr=True)


def _duration(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Data = Annotated[list[Path], typer.Option(help="Parquet file of rows; repeat it for more.")]
Output = Annotated[Path, typer.Option(help="Folder of the run; the model comes to lie in `model`.")]
Budget = Annotated[
    float | None,
    typer.Option(parser=_duration, metavar="10m", help="Wall-clock time, all included."),
]


def main() -> None:
    """Run the command line."""
    # Threads that wait busily take the cores from whatever else runs here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    cli()


@cli.callback()
def _commands() -> None:
    """Keeps the name of a command needed while there is only one."""


@cli.command("sft")
def sft_(
    data: Data,
    output: Output,
    base: Annotated[
        str | None, typer.Option(help="Model to start from; none: from nothing.")
    ] = None,
    held_out: Annotated[
        list[Path] | None, typer.Option(help="Parquet file of rows to measure on.")
    ] = None,
    layers: Annotated[int, typer.Option(min=1, help="Of a model made from nothing.")] = 4,
    width: Annotated[int, typer.Option(min=32, help="Of its hidden states.")] = 256,
    mlp: Annotated[int, typer.Option(min=32, help="Of its feed-forward layers.")] = 640,
    vocabulary: Annotated[int, typer.Option(min=2048, help="Tokens at most.")] = 4096,
    context: Annotated[int, typer.Option(min=64, help="Longest row, in tokens.")] = 1024,
    epochs: Annotated[float, typer.Option(min=0, help="Times through the data, at most.")] = 1.0,
    budget: Budget = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens, at most.")] = None,
    batch_tokens: Annotated[int, typer.Option(min=256, help="Tokens a step.")] = 8192,
    micro_tokens: Annotated[int, typer.Option(min=0, help="Tokens a pass; 0: as a step.")] = 0,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
    weight_decay: Annotated[float, typer.Option(min=0)] = 0.05,
    lora: Annotated[int, typer.Option(min=0, help="Rank of an adapter; 0: all weights.")] = 0,
    seed: Annotated[int, typer.Option()] = 0,
    compile: Annotated[bool | None, typer.Option(help="Compile; where it pays if unset.")] = None,
    save_every: Annotated[
        float, typer.Option(parser=_duration, metavar="5m", help="Between checkpoints.")
    ] = "5m",  # type: ignore[assignment]
    measure_every: Annotated[
        float, typer.Option(parser=_duration, metavar="15m", help="Between held-out measurements.")
    ] = "15m",  # type: ignore[assignment]
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
        save_every_s=save_every,
        measure_every_s=measure_every,
    )
    _reporting(lambda: sft(options))


def _reporting(work: Any) -> None:
    from cap_training.rows import RowsError
    from cap_training.run import RunError

    try:
        work()
    except (RowsError, RunError) as error:
        _err.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise typer.Exit(1) from None
