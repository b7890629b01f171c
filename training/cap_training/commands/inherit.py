"""`cap-train inherit`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

from cap_training.commands.options import Context, Data, Seed, reporting

_TEXTS_OF = 100_000


def inherit_(
    base: Annotated[Path, typer.Option(help="Folder of a Llama, larger than the one to make.")],
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder for the small model.")],
    layers: Annotated[int, typer.Option(min=1, help="Of the base, from below.")] = 4,
    vocabulary: Annotated[int, typer.Option(min=2560, help="Tokens at most.")] = 10_240,
    context: Context = 1024,
    seed: Seed = 0,
) -> None:
    """Begin a small model with the first layers and the words of a larger one."""
    from cap_training import rows
    from cap_training.inherit import Kept, inherit
    from cap_training.run import say, silence

    silence()
    with reporting():
        sample = itertools.islice(rows.read(data, ("prompt", "completion")), _TEXTS_OF)
        kept = Kept(layers=layers, vocabulary=vocabulary, context=context)
        say(f"{inherit(base, output, rows.texts(sample), kept, seed=seed)} is ready.")
