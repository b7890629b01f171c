"""The report's pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl

mpl.use("Agg")  # no screen

from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Canvas

from cap_training.evaluate.figures import Bin, Figure
from cap_training.evaluate.results import Line

_SHOWN = (
    ("none", "no CoT", "#4477aa"),
    ("right", "right CoT kept", "#228833"),
    ("wrong", "wrong CoT corrected", "#ee6677"),
    ("copied", "wrong answer copied", "#bbbbbb"),
)


def accuracy(lines: Sequence[Line]) -> bytes:
    """Bars with intervals, a group for each data set and strategy; PNG."""
    height = max(2.5, 0.28 * len(_SHOWN) * len(lines))
    figure, axes = plt.subplots(figsize=(8, height), layout="constrained")
    thickness = 0.8 / len(_SHOWN)
    for place, (field, label, colour) in enumerate(_SHOWN):
        found = [(row, getattr(line, field)) for row, line in enumerate(lines)]
        kept: list[tuple[int, Figure]] = [(row, value) for row, value in found if value]
        axes.barh(
            [row + (place - 1.5) * thickness for row, _ in kept],
            [value.value for _, value in kept],
            thickness,
            xerr=[
                [max(0.0, value.value - value.low) for _, value in kept],
                [max(0.0, value.high - value.value) for _, value in kept],
            ],
            color=colour,
            label=label,
            error_kw={"elinewidth": 0.8},
        )
    axes.set_yticks(range(len(lines)), [f"{line.dataset}\n{line.system}" for line in lines])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of questions, 95 % interval")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.08 * 5 / height), ncols=2, frameon=False
    )
    return _png(figure)


def calibration(bins: Sequence[Bin]) -> bytes:
    """Predicted against actual correctness; PNG."""
    figure, axes = plt.subplots(figsize=(4, 4), layout="constrained")
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
    most = max(each.n for each in bins)
    axes.scatter(
        [each.predicted for each in bins],
        [each.actual for each in bins],
        [20 + 180 * each.n / most for each in bins],
        color="#4477aa",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="P(yes)", ylabel="share of right CoTs")
    return _png(figure)


def _png(figure: Canvas) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    plt.close(figure)
    return file.getvalue()
