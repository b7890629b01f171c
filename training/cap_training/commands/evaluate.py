"""`cap-train evaluate`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from cap_training.commands.options import Budget, Model, Name, Seed, Url, one_of, reporting


def evaluate_(
    data: Annotated[
        list[Path], typer.Option(help="JSON lines or Parquet of questions; repeat it for more.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the report.")],
    model: Model = None,
    url: Url = None,
    name: Name = "cap",
    strategy: Annotated[
        list[str] | None, typer.Option(help="As the report names it; repeatable. All if unset.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Questions of a kind in a set, at most.")] = 200,
    against: Annotated[
        Path | None, typer.Option(help="Folder of another report, to compare with in pairs.")
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, help="Questions under way at once.")] = 32,
    budget: Budget = None,
    seed: Seed = 0,
) -> None:
    """Measure a model through vLLM and the server, and write a report."""
    from cap_server.logs import configure_logs
    from cap_training.evaluate.evaluation import EvaluateOptions, evaluate
    from cap_training.evaluate.systems import SYSTEMS
    from cap_training.run import say
    from cap_training.serving import reached

    configure_logs("error")
    one_of(model, url)
    if unknown := set(strategy or ()) - set(SYSTEMS):
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(SYSTEMS)}")
    options = EvaluateOptions(
        data=tuple(data),
        output=output,
        model=str(model or name),
        systems=tuple(strategy or SYSTEMS),
        most=most,
        against=against,
        budget_s=budget,
        at_once=at_once,
        seed=seed,
    )

    async def work() -> None:
        async with reached(model, url, name, say=say) as server:
            await evaluate(options, server.settings(), say=say)

    with reporting():
        asyncio.run(work())
    sys.stdout.write((output / "report.md").read_text("utf-8"))
