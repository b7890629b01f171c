"""`cap-train mine`: pairs for stage 2."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cap_training.commands.options import Budget, Data, Model, Name, Seed, Url, one_of, reporting


def mine_(
    data: Data,
    output: Annotated[Path, typer.Option(help="Parquet file for the pairs.")],
    model: Model = None,
    url: Url = None,
    name: Name = "cap",
    condition: Annotated[
        list[str] | None,
        typer.Option(help="Rows with CoT `none`, `right`, `wrong`; repeatable. All if unset."),
    ] = None,
    samples: Annotated[int, typer.Option(min=2, help="Draws for each row.")] = 8,
    temperature: Annotated[float, typer.Option(min=0, max=2)] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=16, help="Of a draw.")] = 200,
    most_rows: Annotated[int, typer.Option(min=0, help="Rows that are asked; 0: all.")] = 0,
    most_pairs: Annotated[int, typer.Option(min=1, help="Of one row.")] = 2,
    gold: Annotated[
        bool, typer.Option(help="Where no draw is right, choose the row's own completion.")
    ] = False,
    share: Annotated[
        float, typer.Option(min=0.34, max=0.99, help="Of pairs, that one kind of row has at most.")
    ] = 0.6,
    at_once: Annotated[int, typer.Option(min=1, help="Rows under way at once.")] = 24,
    budget: Budget = None,
    seed: Seed = 0,
) -> None:
    """Let the model refine its training rows, run what it writes, and pair right with wrong."""
    from cap_server.logs import configure_logs
    from cap_training.evaluate.items import CONDITIONS
    from cap_training.mine import MineOptions, mine
    from cap_training.run import say
    from cap_training.serving import reached

    configure_logs("error")
    one_of(model, url)
    if unknown := set(condition or ()) - set(CONDITIONS):
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(CONDITIONS)}")
    options = MineOptions(
        data=tuple(data),
        output=output,
        model=str(model or name),
        conditions=tuple(each for each in CONDITIONS if each in (condition or CONDITIONS)),
        samples=samples,
        temperature=temperature,
        max_tokens=max_tokens,
        most_rows=most_rows,
        most_pairs=most_pairs,
        gold=gold,
        share=share,
        budget_s=budget,
        at_once=at_once,
        seed=seed,
    )

    async def work() -> None:
        async with reached(model, url, name, say=say) as server:
            counts = await mine(options, server.settings(), say=say)
        say(", ".join(f"{what} {count:,}" for what, count in counts.items()))

    with reporting():
        asyncio.run(work())
