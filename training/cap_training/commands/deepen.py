"""`cap-train deepen`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cap_training.commands.options import reporting


def deepen_(
    base: Annotated[Path, typer.Option(help="Folder of a small model.")],
    output: Annotated[Path, typer.Option(help="Folder for the deeper one.")],
    layers: Annotated[int, typer.Option(min=2, help="Of the deeper one; at most twice as many.")],
) -> None:
    """Give a model more layers that change nothing until it is trained on (arXiv 2401.02415)."""
    from cap_training.deepen import deepen
    from cap_training.run import say, silence

    silence()
    with reporting():
        say(f"{deepen(base, output, layers=layers)} is ready.")
