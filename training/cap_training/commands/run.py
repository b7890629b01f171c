"""`cap-train run`: a whole recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cap_training.commands.options import Budget, reporting
from cap_training.recipe import load, names


def run_(
    recipe: Annotated[str, typer.Argument(help=f"{', '.join(names())}, or a YAML file.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for everything; `runs/NAME` if unset.")
    ] = None,
    budget: Budget = None,
) -> None:
    """Make a model from data to report. The same command goes on where a killed one was."""
    with reporting():
        found = load(recipe)
        from cap_server.logs import configure_logs
        from cap_training.pipeline import Pipeline
        from cap_training.run import say

        configure_logs("error")
        Pipeline(found, output or Path("runs") / found.name, budget, say).run()
