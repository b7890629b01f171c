"""`cap eval`: which strategy is best for your own traffic?"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cap_client import AsyncClient
from cap_server.adapters.math_verify import MathVerify
from cap_server.cli_client import AT_ONCE, server_at
from cap_server.cli_options import ApiKey, AsJson, StrategyTexts, Url, settings_of
from cap_server.evaluation.journal import Journal
from cap_server.evaluation.report import (
    Cost,
    Figures,
    check_plot,
    figures,
    plot,
    table,
    to_json,
)
from cap_server.evaluation.rows import EvaluationError, read_rows
from cap_server.evaluation.run import Evaluation, evaluate
from cap_server.strategy_text import strategy_of

_out = Console()
_err = Console(stderr=True)


def eval_(
    data: Annotated[
        Path, typer.Argument(help="Rows as JSON lines: question, answer, cot, source, choices.")
    ],
    strategy: StrategyTexts = None,
    journal: Annotated[
        Path | None, typer.Option(help="Where outcomes are kept, to go on from; DATA.eval.jsonl.")
    ] = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", help="Draw accuracy against cost, .svg or .png.")
    ] = None,
    cost: Annotated[Cost, typer.Option(help="What the picture counts.")] = "programs",
    seed: Annotated[int | None, typer.Option(help="Sent with every request.")] = None,
    at_once: Annotated[int, typer.Option(help="Requests at once.", min=1, max=256)] = 8,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Compare strategies on labelled problems, through a running server."""
    labels = strategy or ["single", "majority", "adaptive"]
    at = server_at(url, settings_of())
    try:
        if plot_file is not None:
            check_plot(plot_file)
        strategies = {label: strategy_of(label) for label in labels}
        evaluation = Evaluation(read_rows(data), strategies, at_once=at_once, seed=seed)
        of = _measured(evaluation, journal or data.with_suffix(".eval.jsonl"), at, api_key)
        if as_json:
            sys.stdout.write(json.dumps(to_json(of), indent=2) + "\n")
        else:
            _out.print(table(of))
        if plot_file is not None:
            plot(of, plot_file, cost=cost)
    except EvaluationError as error:
        _err.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise typer.Exit(1) from None
    except ValueError as error:
        _err.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise typer.Exit(2) from None


def _measured(evaluation: Evaluation, file: Path, url: str, api_key: str | None) -> list[Figures]:
    journal = Journal(file)
    try:
        asyncio.run(_run(evaluation, journal, url=url, api_key=api_key))
        return [
            figures(label, [journal.outcomes[key] for key in evaluation.keys(label)])
            for label in evaluation.strategies
        ]
    finally:
        journal.close()


async def _run(evaluation: Evaluation, journal: Journal, *, url: str, api_key: str | None) -> None:
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with (
        AsyncClient(url, api_key, retries=AT_ONCE) as client,
        MathVerify() as equality,
    ):
        with Progress(*columns, console=_err) as progress:
            total = len(evaluation.rows) * len(evaluation.strategies)
            task = progress.add_task("evaluating", total=total)
            await evaluate(
                evaluation,
                client=client,
                equality=equality,
                journal=journal,
                advance=lambda: progress.advance(task),
            )
