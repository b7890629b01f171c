"""Estimating accuracies from patterns of agreement, by expectation maximisation.

One-coin Dawid & Skene (1979) for the sources of CoTs, with an urn in place of the programs' coins
(`posterior.py`). Its concentration has a likelihood of its own, Ewens' sampling formula (1972),
which holds however early a strategy stopped drawing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cap_server.domain import Pattern
from cap_server.trust.posterior import joint, posterior, urn

_ACCURACY, _ACCURACY_WEIGHT = 0.6, 4.0
_CONCENTRATION, _CONCENTRATION_WEIGHT = 0.5, 4.0
_RELIABILITY_WEIGHT = 40.0
_STEPS = 8
_Z95 = 1.96


@dataclass(frozen=True, slots=True)
class Source:
    """What is believed of one source of CoTs.

    Attributes:
        accuracy: 0 to 1: the share of its answers that are right.
        low: the lower end of a 95 % interval.
        high: the upper end.
        requests: how many recent requests it stands on.
    """

    accuracy: float
    low: float
    high: float
    requests: int


@dataclass(frozen=True, slots=True)
class Estimates:
    """What is believed of sources and of the CaP model.

    Attributes:
        sources: by name; None for CoTs whose source nobody named.
        concentration: of the urn; 0.5 says that two programs agree two times out of three.
        reliability: how often the truth is within the CaP model's reach, 0 to 1.
    """

    sources: Mapping[str | None, Source] = field(default_factory=dict)
    concentration: float = _CONCENTRATION
    reliability: float = 0.95

    def accuracy(self, source: str | None) -> float:
        """That of `source`, or what is assumed of one that nobody has seen."""
        known = self.sources.get(source)
        return known.accuracy if known else _ACCURACY

    def posterior(self, pattern: Pattern) -> dict[int | None, float]:
        """How probable each answer of `pattern` is; the key None is "none of these"."""
        return posterior(
            pattern,
            accuracy=self.accuracy(pattern.source),
            concentration=self.concentration,
            reliability=self.reliability,
        )


NEWCOMERS = Estimates()
"""What is assumed before anything was seen."""


def estimate(patterns: Sequence[Pattern], *, reliability: float = 0.95) -> Estimates:
    """Estimate from `patterns`.

    Args:
        patterns: recent ones, in any order.
        reliability: what is assumed of the model, weighing as much as 40 patterns. Agreement alone
            cannot tell a weak source from a weak model, so this says whom to doubt first.
    """
    counted = Counter(_canonical(pattern) for pattern in patterns)
    believed = Estimates(
        concentration=_concentration(pattern.programs for pattern in patterns),
        reliability=reliability,
    )
    for _ in range(_STEPS):
        believed = _step(counted, believed, assumed=reliability)
    return believed


def _step(counted: Mapping[Pattern, int], now: Estimates, *, assumed: float) -> Estimates:
    right: Counter[str | None] = Counter()
    seen: Counter[str | None] = Counter()
    within, weighed = assumed * _RELIABILITY_WEIGHT, _RELIABILITY_WEIGHT
    for pattern, times in counted.items():
        programs = urn(
            pattern.programs, concentration=now.concentration, reliability=now.reliability
        )
        of = joint(pattern, programs, accuracy=now.accuracy(pattern.source))
        total = sum(of.values())
        if pattern.prior is not None:
            seen[pattern.source] += times
            right[pattern.source] += times * of[pattern.prior] / total  # type: ignore[assignment]
        if programs.counts:
            beyond = sum(of[answer] for answer in of if answer not in programs.counts) / total
            lost = (1 - now.reliability) / programs.none
            within += times * (1 - beyond * lost)
            weighed += times
    sources = {name: _source(right[name], seen[name]) for name in seen}
    return Estimates(sources, now.concentration, within / weighed)


def _source(right: float, seen: int) -> Source:
    """With Wilson's interval, which stays within 0 and 1."""
    n = seen + _ACCURACY_WEIGHT
    p = (right + _ACCURACY * _ACCURACY_WEIGHT) / n
    centre = (p + _Z95**2 / (2 * n)) / (1 + _Z95**2 / n)
    half = _Z95 / (1 + _Z95**2 / n) * math.sqrt(p * (1 - p) / n + _Z95**2 / (4 * n**2))
    return Source(p, max(0.0, centre - half), min(1.0, centre + half), seen)


def _concentration(programs: Iterable[tuple[int | None, ...]]) -> float:
    """The likeliest concentration, with a prior that weighs as much as four observations.

    Under Ewens' formula n programs come to m different answers with a likelihood whose derivative
    in log(concentration) is m - sum(concentration / (concentration + j) for j < n): it falls, so
    halving an interval finds its zero.
    """
    shapes: Counter[tuple[int, int]] = Counter()
    for each in programs:
        answered = [program for program in each if program is not None]
        if len(answered) > 1:
            shapes[len(answered), len(set(answered))] += 1
    low, high = 0.02, 5.0
    for _ in range(30):
        middle = math.sqrt(low * high)
        slope = -_CONCENTRATION_WEIGHT * math.log(middle / _CONCENTRATION)
        for (n, different), times in shapes.items():
            slope += times * (different - sum(middle / (middle + j) for j in range(n)))
        low, high = (middle, high) if slope > 0 else (low, middle)
    return low


def _canonical(pattern: Pattern) -> Pattern:
    """`pattern` with its answers numbered by how many programs came to them."""
    counts = Counter(program for program in pattern.programs if program is not None)
    order = [answer for answer, _ in counts.most_common()]
    if pattern.prior is not None:
        order.sort(key=lambda answer: (-counts[answer], answer != pattern.prior))
    programs = tuple(i for i, answer in enumerate(order) for _ in range(counts[answer]))
    prior = pattern.prior
    if prior is not None:
        prior = order.index(prior) if prior in counts else len(order)
    return Pattern(pattern.source, prior, programs)
