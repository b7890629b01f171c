"""`cap-train extrapolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cap_training.commands.options import reporting


def extrapolate_(
    before: Annotated[Path, typer.Option(help="Folder of stage 1's model.")],
    after: Annotated[Path, typer.Option(help="Folder of stage 2's model.")],
    output: Annotated[Path, typer.Option(help="Folder for the new model.")],
    alpha: Annotated[float, typer.Option(help="How much further; 0: not at all.")] = 0.3,
) -> None:
    """Go further in the direction in which stage 2 moved the model (ExPO, arXiv 2404.16792)."""
    from cap_training.extrapolate import extrapolate
    from cap_training.run import say, silence

    silence()
    with reporting():
        say(f"{extrapolate(before, after, output, alpha=alpha)} is ready.")
