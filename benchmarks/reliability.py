"""Draws how calibrated the confidence is, from the pairs that `recorded_traffic.py` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

_BINS = 10


def main(
    pairs: Annotated[Path, typer.Argument(help="[[confidence, right], …] as JSON.", exists=True)],
    output: Annotated[Path, typer.Argument(help="The picture, .svg or .png.")],
) -> None:
    """Draw the share of right answers against their confidence; dots grow with their number."""
    of: list[list[tuple[float, bool]]] = [[] for _ in range(_BINS)]
    for confidence, right in json.loads(pairs.read_text("utf-8")):
        of[min(_BINS - 1, int(confidence * _BINS))].append((confidence, right))
    filled = [each for each in of if each]
    total = sum(map(len, filled))
    figure = Figure(figsize=(4.2, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", linewidth=1)
    axes.scatter(
        [sum(confidence for confidence, _ in each) / len(each) for each in filled],
        [sum(right for _, right in each) / len(each) for each in filled],
        s=[20 + 600 * len(each) / total for each in filled],
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share of right answers")
    figure.savefig(output)


if __name__ == "__main__":
    typer.run(main)
