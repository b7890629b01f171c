"""One evaluation, from files of questions to the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cap_server.adapters.math_verify import MathVerify
from cap_server.settings import Settings
from cap_training.budget import Clock
from cap_training.claim import claim, digests
from cap_training.data.files import json_lines, sha256
from cap_training.data.journal import Journal
from cap_training.evaluate import results
from cap_training.evaluate.asking import Asker, Outcome, offered, server
from cap_training.evaluate.critic import judgements
from cap_training.evaluate.items import Item, read_items
from cap_training.evaluate.report import Report, write_report
from cap_training.evaluate.systems import SYSTEMS
from cap_training.failures import TrainingError

_CRITIC_SHARE = 0.2
"""Of the budget, for the critic's questions."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What is asked, and how.

    Attributes:
        data: files of questions, see `items.py`.
        output: the report's folder; the outcomes lie there too, and a run goes on from them.
        model: what is evaluated, as the report calls it.
        systems: names in `SYSTEMS`; those that the server does not offer are left out.
        most: items of each condition of each set.
        against: the folder of another evaluation, to compare with.
    """

    data: tuple[Path, ...]
    output: Path
    model: str
    systems: tuple[str, ...] = tuple(SYSTEMS)
    most: int = 200
    against: Path | None = None
    budget_s: float | None = None
    at_once: int = 32
    seed: int = 0


async def evaluate(
    options: EvaluateOptions, settings: Settings, *, say: Callable[[str], None]
) -> Report:
    """Asks the server, which runs in this process against the model of `settings`.

    Raises:
        RowsError: a file cannot be used.
        RunError: the folder holds another evaluation.
        TrainingError: the server or the model refused, or nothing was asked.
    """
    clock = Clock()
    options.output.mkdir(parents=True, exist_ok=True)
    ours = {"model": options.model, "seed": options.seed, "data": digests(options.data)}
    claim(options.output / "evaluation.json", ours)
    theirs = _theirs(options)
    async with MathVerify() as equality, server(settings) as client:
        items = await read_items(
            options.data, most=options.most, seed=options.seed, equality=equality
        )
        systems = await offered(client, options.systems)
        budget_s = options.budget_s
        with Journal(options.output / "outcomes.jsonl") as journal:
            asker = Asker(
                client=client,
                equality=equality,
                journal=journal,
                say=say,
                budget_s=None if budget_s is None else (1 - _CRITIC_SHARE) * budget_s,
                at_once=options.at_once,
                seed=options.seed,
            )
            outcomes = await asker.ask(items, systems)
    if not outcomes:
        raise TrainingError("Nothing was asked: no questions, or no time.")
    judged = await judgements(settings, items, at_once=options.at_once)
    report = Report(
        title=f"Evaluation of {options.model}",
        facts=_facts(options, items, outcomes, systems, clock),
        lines=results.lines(outcomes),
        critic=results.critic(judged),
        against=results.against(outcomes, theirs),
        other=str(options.against or ""),
    )
    write_report(report, options.output)
    return report


def _facts(
    options: EvaluateOptions,
    items: Sequence[Item],
    outcomes: Sequence[Outcome],
    systems: Sequence[str],
    clock: Clock,
) -> dict[str, str]:
    asked, all_of_them = len(outcomes), len(items) * len(systems)
    facts = {
        "model": options.model,
        "asked": f"{asked:,} of {all_of_them:,}" + (" (time was up)" * (asked < all_of_them)),
        "seed": str(options.seed),
        "took": f"{clock.elapsed_s():.0f} s",
    }
    if missing := [name for name in options.systems if name not in systems]:
        facts["not offered by this server"] = ", ".join(missing)
    return facts | {f"data {path.name}": sha256(path) for path in options.data}


def _theirs(options: EvaluateOptions) -> list[Outcome]:
    """The outcomes of the evaluation to compare with."""
    if options.against is None:
        return []
    path = options.against / "outcomes.jsonl"
    try:
        return [Outcome(**line) for line in json_lines(path)]
    except ValueError as error:
        raise TrainingError(str(error)) from error
    except TypeError as error:
        raise TrainingError(f"{path} is no file of outcomes: {error}") from error
