"""Options that several commands share, and how their failures reach the user."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cap_server.engine import EngineError
from cap_server.errors import CapError
from cap_training.budget import seconds
from cap_training.failures import TrainingError

_err = Console(stderr=True)


def duration(text: str) -> float:
    """A duration on the command line, in seconds."""
    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Data = Annotated[list[Path], typer.Option(help="Parquet file of rows; repeat it for more.")]
HeldOut = Annotated[
    list[Path] | None, typer.Option(help="Parquet file of rows to measure on; repeatable.")
]
Output = Annotated[Path, typer.Option(help="Folder of the run; the model comes to lie in `model`.")]
Budget = Annotated[
    float | None,
    typer.Option(parser=duration, metavar="10m", help="Wall-clock time, all included."),
]
SaveEvery = Annotated[
    float | None, typer.Option(parser=duration, metavar="5m", help="Between checkpoints.")
]
MeasureEvery = Annotated[
    float | None, typer.Option(parser=duration, metavar="15m", help="Between measurements.")
]
Model = Annotated[Path | None, typer.Option(help="Folder of the model; vLLM is started.")]
Url = Annotated[str | None, typer.Option(help="Or the root of an API that serves it.")]
Name = Annotated[str, typer.Option(help="What that API calls it.")]
Epochs = Annotated[float, typer.Option(min=0, help="Times through the data, at most.")]
Context = Annotated[int, typer.Option(min=64, help="Longest row, in tokens.")]
Lora = Annotated[int, typer.Option(min=0, help="Rank of an adapter; 0: all weights.")]
Seed = Annotated[int, typer.Option(help="The same seed repeats a run of so many tokens or steps.")]


def one_of(model: Path | None, url: str | None) -> None:
    """Refuses a model that is named twice or not at all."""
    if (model is None) == (url is None):
        raise typer.BadParameter("give one of --model and --url")


@contextmanager
def reporting() -> Iterator[None]:
    """Says in one line why a command cannot go on, and ends it."""
    try:
        yield
    except (TrainingError, EngineError, CapError) as error:
        _err.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. The same command goes on from the last checkpoint.\n")
        raise typer.Exit(130) from None
