"""What an evaluation comes to: a table for a person, figures for a machine, a picture."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from cap_server.evaluation.journal import Outcome
from cap_server.evaluation.rows import EvaluationError

Cost = Literal["programs", "tokens"]
_Z95 = 1.96
_PICTURES = (".svg", ".png")


@dataclass(frozen=True, slots=True)
class Figures:
    """One strategy's.

    Attributes:
        accuracy: the share of rows whose returned answer is right.
        low: the lower end of its 95 % interval (Wilson).
        high: the upper end.
        prior_accuracy: the share of right answers among the priors; None where no row has one.
        corrected: wrong priors that became right.
        broken: right priors that became wrong.
        kept: priors that were kept, `unresolved` ones among them.
        programs: drawn per row.
        tokens: completion tokens per row.
        failed: rows that the server failed on; they count nowhere else.
    """

    strategy: str
    rows: int
    accuracy: float
    low: float
    high: float
    prior_accuracy: float | None
    corrected: int
    broken: int
    kept: int
    programs: float
    tokens: float
    failed: int


def figures(strategy: str, outcomes: Sequence[Outcome]) -> Figures:
    measured = [each for each in outcomes if each.decision is not None]
    n = len(measured)
    right = sum(each.right for each in measured)
    priors = [each for each in measured if each.prior_right is not None]
    low, high = wilson(right, n)
    return Figures(
        strategy,
        rows=n,
        accuracy=right / n if n else 0.0,
        low=low,
        high=high,
        prior_accuracy=sum(bool(each.prior_right) for each in priors) / len(priors)
        if priors
        else None,
        corrected=sum(each.right and not each.prior_right for each in priors),
        broken=sum(bool(each.prior_right) and not each.right for each in priors),
        kept=sum(each.decision in ("kept", "unresolved") for each in measured),
        programs=sum(each.programs for each in measured) / max(1, n),
        tokens=sum(each.tokens for each in measured) / max(1, n),
        failed=len(outcomes) - n,
    )


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, within 0 and 1."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + _Z95**2 / (2 * n)
    half = _Z95 * math.sqrt(p * (1 - p) / n + _Z95**2 / (4 * n**2))
    total = 1 + _Z95**2 / n
    return max(0.0, (centre - half) / total), min(1.0, (centre + half) / total)


def table(of: Sequence[Figures]) -> Table:
    """Eighty columns wide with short names of strategies."""
    failed = sum(each.failed for each in of)
    told = f"; {failed} failed and are not counted" if failed else ""
    shown = Table(box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    shown.caption = f"{max(each.rows for each in of)} rows{told}"
    shown.add_column("strategy", overflow="fold")
    for column in ("CoT", "refined", "95 %", "corrected", "broken", "kept", "programs", "tokens"):
        shown.add_column(column, justify="right", no_wrap=True)
    for each in of:
        prior = "–" if each.prior_accuracy is None else f"{each.prior_accuracy:.3f}"
        shown.add_row(
            each.strategy, prior, f"{each.accuracy:.3f}", f"{each.low:.3f}–{each.high:.3f}",
            str(each.corrected), str(each.broken), str(each.kept), f"{each.programs:.2f}",
            f"{each.tokens:.0f}",
        )  # fmt: skip
    return shown


def to_json(of: Sequence[Figures]) -> list[dict[str, Any]]:
    return [asdict(each) for each in of]


def check_plot(path: Path) -> None:
    """Return if `plot` could draw `path`: better known before hours of measuring than after.

    Raises:
        EvaluationError: why it could not.
    """
    if path.suffix not in _PICTURES:
        raise EvaluationError(f"--plot {path}: its name has to end in {' or '.join(_PICTURES)}.")
    if importlib.util.find_spec("matplotlib") is None:
        raise EvaluationError("--plot needs matplotlib: pip install 'cap-refine[plots]'.")


def plot(of: Sequence[Figures], path: Path, *, cost: Cost) -> None:
    """Draw accuracy, with its interval, against what a question costs.

    Args:
        of: one point each.
        path: as `check_plot` takes it.
        cost: programs or completion tokens per question.

    Raises:
        EvaluationError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for each in of:
        around = [[each.accuracy - each.low], [each.high - each.accuracy]]
        spent = each.programs if cost == "programs" else each.tokens
        axes.errorbar(
            [spent], [each.accuracy], yerr=around, fmt="o", capsize=3, label=each.strategy
        )
    priors = [each.prior_accuracy for each in of if each.prior_accuracy is not None]
    if priors:
        axes.axhline(priors[0], linestyle="--", color="grey", label="CoT")
    axes.set_xlabel(f"{cost} per question")
    axes.set_ylabel("accuracy, 95 % interval")
    axes.set_xlim(left=0)
    axes.legend()
    try:
        figure.savefig(path)
    except OSError as error:
        raise EvaluationError(f"--plot {path}: {error.strerror}.") from error
