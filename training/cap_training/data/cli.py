"""`cap-train data`: training rows from nothing, from labelled problems, and from a server's log."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cap_sandbox import Limits, Pool
from cap_server.adapters.local_sandbox import LocalSandbox
from cap_server.adapters.math_verify import MathVerify
from cap_server.adapters.upstream import Upstream, model_client
from cap_server.adapters.vllm import VLLMModel
from cap_server.errors import CapError
from cap_server.prompts import PromptFormatName
from cap_training.data.card import Census, write_card, write_parquet
from cap_training.data.files import json_lines
from cap_training.data.journal import Journal
from cap_training.data.labelling import (
    Judgement,
    judge,
    preferences,
    prompt_completions,
    unpaired_rows,
)
from cap_training.data.mixture import Mixture, Recipe, Sources, described
from cap_training.data.refinements import Trust, read_refinements
from cap_training.data.sampling import Labelled, Plan, count, read_labelled, sample
from cap_training.data.split import split_of
from cap_training.data.spoiling import with_cots

_KEY = "CAP_TRAIN_API_KEY"
_READ_TIMEOUT_S = 600.0

data_cli = typer.Typer(
    help="Make training data.", no_args_is_help=True, pretty_exceptions_enable=False
)
_err = Console(stderr=True)

Output = Annotated[Path, typer.Option(help="Folder for the Parquet files and their card.")]
Seed = Annotated[int, typer.Option(help="The same seed makes the same rows.")]
Problems = Annotated[
    Path, typer.Option(help="JSON lines with `question` and `answer`; .gz is unpacked.")
]
JournalFile = Annotated[Path, typer.Option(help="File of what was sampled; it only grows.")]
Format = Annotated[
    PromptFormatName, typer.Option(help="How programs are asked for: of any model, or a CaP model.")
]


@data_cli.command("make")
def make_(
    output: Output,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the training file.")] = 200_000,
    seed: Seed = 1,
    gsm8k: Annotated[Path | None, typer.Option(help="GSM8K's training set.")] = None,
    ape210k: Annotated[Path | None, typer.Option(help="Ape210K's validation set.")] = None,
    held_out: Annotated[
        int, typer.Option(min=1, help="Rows of the dev and of the test file.")
    ] = 1000,
) -> None:
    """Make rows that need no teacher: synthetic problems, and equations turned into programs."""
    recipe = Recipe(rows=rows, seed=seed)
    sources = Sources(gsm8k, ape210k)
    census = Census()
    files: list[Path] = []
    with _reporting():
        for split, size in (("train", rows), ("dev", held_out), ("test", held_out)):
            mixture = Mixture(replace(recipe, rows=size), sources, split=split)
            columns = (row.columns() for row in mixture.rows())
            files.append(output / f"{split}.parquet")
            write_parquet(files[-1], _watched(census.counted(columns), size, split))
        write_card(
            output, files=files, sources=sources.files, census=census, recipe=described(recipe)
        )


@data_cli.command("sample")
def sample_(
    problems: Problems,
    journal: JournalFile,
    url: Annotated[str, typer.Option(help="Root of the API, as http://host:8000/v1.")],
    model: Annotated[str, typer.Option(help="As its server names it.")],
    cots: Annotated[int, typer.Option(min=0, help="For each problem.")] = 4,
    programs: Annotated[int, typer.Option(min=0, help="For each problem.")] = 4,
    temperature: Annotated[float, typer.Option(min=0, max=2)] = 0.8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of one draw.")] = 512,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Completion tokens of all runs together.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Draws under way at once.")] = 32,
    seed: Seed = 1,
    prompt_format: Format = "few_shot",
) -> None:
    """Draw CoTs and programs from a model. Killed, it goes on where it was.

    An API key is read from CAP_TRAIN_API_KEY.
    """
    plan = Plan(
        cots=cots, programs=programs, temperature=temperature, max_tokens=max_tokens,
        tokens=tokens, concurrency=concurrency, seed=seed, prompt_format=prompt_format,
    )  # fmt: skip
    with _reporting():
        spent = asyncio.run(_sample(list(read_labelled(problems)), journal, url, model, plan))
        _err.print(f"{journal}: {spent:,} completion tokens in all")


@data_cli.command("label")
def label_(
    problems: Problems,
    journal: JournalFile,
    output: Output,
    seed: Seed = 1,
    workers: Annotated[int, typer.Option(min=1, help="Programs that run at once.")] = 2,
    wall_s: Annotated[float, typer.Option(help="Seconds for one program.")] = 5.0,
    prompt_format: Format = "few_shot",
) -> None:
    """Run what was sampled, judge it by the known answers, and write rows for both stages."""

    async def work() -> list[Judgement]:
        labelled = list(read_labelled(problems))
        with Journal(journal) as kept:
            lines = kept.lines
        async with Pool(workers=workers) as pool, MathVerify() as equality:
            judgements = judge(
                labelled,
                lines,
                sandbox=LocalSandbox(pool),
                equality=equality,
                limits=Limits(wall_s=wall_s),
                prompt_format=prompt_format,
            )
            return await _collected(judgements, len(labelled))

    with _reporting():
        _write(output, asyncio.run(work()), sources={"problems": problems}, seed=seed)


@data_cli.command("cots")
def cots_(
    problems: Annotated[
        Path, typer.Option(help="JSON lines with `question`, `answer` and `sum` or `equation`.")
    ],
    output: Annotated[Path, typer.Option(help="JSON lines for `cap-train evaluate`.")],
    seed: Seed = 1,
) -> None:
    """Give problems right and wrong CoTs, made from their sums, to measure a model on."""
    with _reporting():
        lines = [
            json.dumps(row, ensure_ascii=False) for row in with_cots(json_lines(problems), seed)
        ]
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    _err.print(f"{output}: {len(lines):,} problems")


@data_cli.command("refinements")
def refinements_(
    log: Annotated[Path, typer.Option(help="The server's log of refinements, JSON lines.")],
    output: Output,
    seed: Seed = 1,
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Least confidence without a reference answer.")
    ] = 0.9,
) -> None:
    """Write rows from a server's own log of refinements."""

    async def work() -> list[Judgement]:
        async with MathVerify() as equality:
            found = read_refinements(log, equality=equality, trust=Trust(confidence))
            return [judgement async for judgement in found]

    with _reporting():
        _write(output, asyncio.run(work()), sources={"log": log}, seed=seed, origin="refinements")


def _write(
    output: Path,
    judgements: list[Judgement],
    *,
    sources: Mapping[str, Path],
    seed: int,
    origin: str = "sampled",
) -> None:
    """Both stages' rows, a file a stage and split."""
    rng = random.Random(seed)
    census = Census()
    files: list[Path] = []
    for split in ("train", "dev", "test"):
        chosen = [each for each in judgements if split_of(each.labelled.id) == split]
        sft = [r.columns() for j in chosen for r in prompt_completions(j, rng, origin=origin)]
        pairs = [pair for judgement in chosen for pair in preferences(judgement, rng)]
        sft = [row | {"split": split} for row in sft]
        single = [row for judgement in chosen for row in unpaired_rows(judgement, rng)]
        for name, rows in ((split, sft), (f"{split}_pairs", pairs), (f"{split}_unpaired", single)):
            if rows:
                files.append(output / f"{name}.parquet")
                counted = census.counted(rows) if name == split else rows
                write_parquet(files[-1], counted)
    if not files:
        raise ValueError("no right program was found: there is nothing to train on")
    write_card(output, files=files, sources=sources, census=census, recipe={"seed": seed})


async def _sample(problems: list[Labelled], journal: Path, url: str, name: str, plan: Plan) -> int:
    async with model_client(connections=plan.concurrency, read_timeout_s=_READ_TIMEOUT_S) as client:
        model = VLLMModel(Upstream(client, url=url, name=name, api_key=os.environ.get(_KEY)))
        await model.check()
        with Journal(journal) as kept, _progress() as progress:
            bar = progress.add_task("draws", total=count(problems, plan), tokens=0)
            progress.advance(bar, len(kept.lines))

            def drawn(tokens: int) -> None:
                progress.advance(bar)

            return await sample(problems, model, plan, kept, drawn=drawn)


async def _collected(judgements: AsyncIterator[Judgement], total: int) -> list[Judgement]:
    found: list[Judgement] = []
    with _progress() as progress:
        bar = progress.add_task("problems", total=total)
        async for judgement in judgements:
            found.append(judgement)
            progress.advance(bar)
    return found


def _watched(
    rows: Iterable[Mapping[str, Any]], total: int, name: str
) -> Iterator[Mapping[str, Any]]:
    with _progress() as progress:
        yield from progress.track(rows, total=total, description=name)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_err,
    )


class _reporting:
    """Tells in one line what went wrong with a file or a model."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError | ValueError | CapError):
            _err.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
            raise typer.Exit(1) from None
