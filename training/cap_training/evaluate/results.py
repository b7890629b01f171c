"""From outcomes to figures, as JSON keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cap_training.evaluate.asking import Outcome
from cap_training.evaluate.figures import (
    Bin,
    Comparison,
    Figure,
    auc,
    calibration_error,
    compare,
    reliability,
    share,
)
from cap_training.evaluate.items import CONDITIONS
from cap_training.evaluate.systems import SYSTEMS


@dataclass(frozen=True)
class Line:
    """One data set under one strategy.

    Attributes:
        none, right, wrong: the share of right answers without a CoT, with right ones, with wrong
            ones (there: corrected).
        broken: right CoTs whose answer was changed to a wrong one.
        copied: wrong CoTs whose answer a program came to again.
        programs: drawn for a question, on average.
    """

    dataset: str
    system: str
    none: Figure | None
    right: Figure | None
    wrong: Figure | None
    broken: Figure | None
    copied: Figure | None
    programs: float


@dataclass(frozen=True)
class Critic:
    """How the model judges CoTs."""

    auc: Figure | None
    calibration_error: float
    bins: list[Bin]
    n: int


@dataclass(frozen=True)
class Against:
    """This model against another one, on the items that both were asked."""

    dataset: str
    system: str
    condition: str
    comparison: Comparison


def lines(outcomes: Sequence[Outcome]) -> list[Line]:
    """A line for each set and strategy, and for all sets together where there are several."""
    systems = [name for name in SYSTEMS if any(outcome.system == name for outcome in outcomes)]
    datasets = sorted({_dataset(outcome) for outcome in outcomes})
    groups = [*datasets, *(["all"] if len(datasets) > 1 else [])]
    return [
        _line(name, system, [o for o in outcomes if o.system == system and _is_of(o, name)])
        for name in groups
        for system in systems
    ]


def _line(dataset: str, system: str, outcomes: Sequence[Outcome]) -> Line:
    by = {name: [o for o in outcomes if _condition(o) == name] for name in CONDITIONS}
    accuracy = {name: share([o.right for o in group]) for name, group in by.items()}
    return Line(
        dataset,
        system,
        **accuracy,
        broken=share([not o.right for o in by["right"]]),
        copied=share([o.copied for o in by["wrong"]]),
        programs=sum(o.programs for o in outcomes) / max(1, len(outcomes)),
    )


def critic(judged: Sequence[tuple[float, bool]]) -> Critic | None:
    """The critic's figures; None where nothing was judged."""
    if not judged:
        return None
    scores, right = [score for score, _ in judged], [label for _, label in judged]
    bins = reliability(scores, right)
    return Critic(auc(scores, right), calibration_error(bins), bins, len(judged))


def against(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> list[Against]:
    """Paired comparisons, set by set, strategy by strategy, condition by condition."""
    other = {(outcome.key, outcome.system): outcome.right for outcome in theirs}
    both = [outcome for outcome in ours if (outcome.key, outcome.system) in other]
    found: dict[tuple[str, str, str], list[tuple[bool, bool]]] = {}
    for outcome in both:
        pair = (outcome.right, other[outcome.key, outcome.system])
        for dataset in (_dataset(outcome), "all"):
            found.setdefault((dataset, outcome.system, _condition(outcome)), []).append(pair)
    several = len({_dataset(outcome) for outcome in both}) > 1
    return [
        Against(*place, compare([a for a, _ in pairs], [b for _, b in pairs]))
        for place, pairs in sorted(found.items())
        if several or place[0] != "all"
    ]


def plain(value: Any) -> Any:
    """Dataclasses and lists of them, as JSON takes them."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _dataset(outcome: Outcome) -> str:
    return outcome.key.split("/")[0]


def _condition(outcome: Outcome) -> str:
    return outcome.key.split("/")[1]


def _is_of(outcome: Outcome, dataset: str) -> bool:
    return dataset in ("all", _dataset(outcome))
