"""Shares with their intervals, the critic's figures, and whether two models differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_BINS = 10


@dataclass(frozen=True)
class Figure:
    """A value between 0 and 1 with its 95 % interval.

    Attributes:
        n: of how many items.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def share(hits: Sequence[bool], *, seed: int = 0) -> Figure | None:
    """The share of `hits` that are true, with a bootstrap interval; None of nothing."""
    if not hits:
        return None
    # The resampled sum of n yes-or-no values is a binomial draw.
    value = float(np.mean(hits))
    drawn = np.random.default_rng(seed).binomial(len(hits), value, RESAMPLES) / len(hits)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Figure(value, float(low), float(high), len(hits))


def auc(scores: Sequence[float], right: Sequence[bool], *, seed: int = 0) -> Figure | None:
    """How often a right text scores above a wrong one; None where one of the two is missing."""
    values, labels = np.asarray(scores, dtype=float), np.asarray(right, dtype=bool)
    if labels.all() or not labels.any():
        return None
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(RESAMPLES // 4):
        chosen = rng.integers(0, len(values), len(values))
        if labels[chosen].any() and not labels[chosen].all():
            drawn.append(_auc(values[chosen], labels[chosen]))
    low, high = np.quantile(drawn, (0.025, 0.975)) if drawn else (0.0, 1.0)
    return Figure(_auc(values, labels), float(low), float(high), len(values))


def _auc(values: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    below = np.searchsorted(np.sort(values[~labels]), values[labels], side="left")
    below_or_equal = np.searchsorted(np.sort(values[~labels]), values[labels], side="right")
    return float((below + below_or_equal).mean() / 2 / (~labels).sum())


@dataclass(frozen=True)
class Bin:
    """What was predicted in one tenth of the scale, and what was so."""

    predicted: float
    actual: float
    n: int


def reliability(scores: Sequence[float], right: Sequence[bool]) -> list[Bin]:
    """Predicted against actual correctness, in ten equal steps; empty ones are left out."""
    values, labels = np.asarray(scores, dtype=float), np.asarray(right, dtype=float)
    places = np.minimum((values * _BINS).astype(int), _BINS - 1)
    groups = [(values[places == i], labels[places == i]) for i in range(_BINS)]
    return [Bin(float(v.mean()), float(y.mean()), len(v)) for v, y in groups if len(v)]


def calibration_error(bins: Sequence[Bin]) -> float:
    """The mean distance between predicted and actual, weighted by how many (ECE)."""
    total = sum(each.n for each in bins)
    return sum(each.n * abs(each.predicted - each.actual) for each in bins) / max(1, total)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items.

    Attributes:
        better: items that only the first one gets right.
        worse: items that only the second one gets right.
        p: of McNemar's exact test, two-sided.
    """

    n: int
    better: int
    worse: int
    p: float

    @property
    def difference(self) -> float:
        return (self.better - self.worse) / self.n if self.n else 0.0


def compare(first: Sequence[bool], second: Sequence[bool]) -> Comparison:
    """Compares the outcomes of two models, item by item."""
    better = sum(a and not b for a, b in zip(first, second, strict=True))
    worse = sum(b and not a for a, b in zip(first, second, strict=True))
    changed = better + worse
    tail = sum(math.comb(changed, k) for k in range(min(better, worse) + 1))
    p = min(1.0, 2 * tail / 2**changed)
    return Comparison(len(first), better, worse, p)
