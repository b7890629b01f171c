"""`adaptive` and `agreement` over the mixed traffic of seven sources, as a server sees it.

Every question comes once with the CoT of each source, all in random order and unlabelled, so what
the server knows of a source is what it learned from the traffic itself. The first requests are a
warm-up and not counted. Draws are replayed from recordings (`recorded_gsm8k.py`), in an order of
their own for each request, so that several orders of traffic are several samples.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from recorded_server import is_right, refined, server
from rich.console import Console
from rich.progress import Progress

from cap_server.adapters.math_verify import MathVerify
from cap_server.adapters.recorded import RecordedModel, Recording, read_recordings
from cap_server.logs import configure_logs

COT_SOURCES = (
    "code002_COT",
    "text003_COT",
    "gpt3-175b_verification",
    "gpt3-6b_verification",
    "gpt-3.5-turbo_COT",
    "gpt4_COT",
    "code001_COT",
)
PROGRAM_SOURCES = "code002_"
_AT_ONCE = 4
_MAJORITY = 12

_out = Console()
_err = Console(stderr=True)


@dataclass
class Tally:
    """What became of one source's requests under one order, after the warm-up."""

    cot_right: list[bool] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    programs: list[int] = field(default_factory=list)
    cancelled: int = 0


@dataclass
class Run:
    """One order's: by source, and how the confidence compares with the truth."""

    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    confidences: list[tuple[float, bool]] = field(default_factory=list)


def main(
    file: Annotated[Path, typer.Argument(help="Recordings, .jsonl or .jsonl.gz.", exists=True)],
    strategy: Annotated[str, typer.Option(help="Its name, with defaults.")] = "adaptive",
    orders: Annotated[int, typer.Option(help="Orders of the traffic.", min=1)] = 3,
    half: Annotated[
        int | None, typer.Option(help="0 or 1: every other question only.", min=0, max=1)
    ] = None,
    pool: Annotated[str, typer.Option(help="Program sources begin with this.")] = PROGRAM_SOURCES,
    max_programs: Annotated[int | None, typer.Option(help="Of the strategy.", min=1)] = None,
    warm_up: Annotated[int, typer.Option(help="Requests that are not counted.", min=0)] = 200,
    confidences: Annotated[
        Path | None, typer.Option(help="Write [confidence, right] pairs here, as JSON.")
    ] = None,
) -> None:
    """Print, for every source, the accuracy of CoT, majority and strategy: mean and spread."""
    configure_logs("warning")
    recordings = read_recordings(file)
    if half is not None:
        recordings = recordings[half::2]
    body: dict[str, Any] = {"name": strategy}
    if max_programs is not None:
        body["max_programs"] = max_programs
    sources = [name for name in recordings[0].programs if name.startswith(pool)]
    with Progress(console=_err) as progress:
        task = progress.add_task("refining", total=orders * len(recordings) * len(COT_SOURCES))
        runs = []
        for order in range(orders):
            traffic = _Traffic(recordings, sources, body, order=order, warm_up=warm_up)
            runs.append(asyncio.run(traffic.run(lambda: progress.advance(task))))
    majority = asyncio.run(_majority(recordings, sources))
    _out.print(_table(runs, majority=majority), soft_wrap=True)
    pairs = [pair for run in runs for pair in run.confidences]
    _out.print(f"expected calibration error {calibration_error(pairs):.3f}, {len(pairs)} answers")
    if confidences is not None:
        confidences.write_text(json.dumps(pairs))


@dataclass(frozen=True)
class _Traffic:
    recordings: Sequence[Recording]
    sources: Sequence[str]
    strategy: dict[str, Any]
    order: int
    warm_up: int

    async def run(self, advance: Any) -> Run:  # noqa: ANN401  # rich's callback
        requests = [(each, cot) for each in self.recordings for cot in COT_SOURCES]
        random.Random(self.order).shuffle(requests)
        model = RecordedModel(self.recordings, sources=self.sources, shuffle=self.order)
        run, gate = Run(), asyncio.Semaphore(_AT_ONCE)
        async with server(model) as client, MathVerify() as equality, asyncio.TaskGroup() as group:

            async def one(at: int, recording: Recording, cot: str) -> None:
                try:
                    counted = run if at >= self.warm_up else Run()
                    await self._request(client, equality, recording, cot=cot, run=counted)
                finally:
                    gate.release()
                    advance()

            for at, (recording, cot) in enumerate(requests):
                await gate.acquire()
                group.create_task(one(at, recording, cot))
        return run

    async def _request(
        self,
        client: httpx.AsyncClient,
        equality: MathVerify,
        recording: Recording,
        *,
        cot: str,
        run: Run,
    ) -> None:
        refinement = await refined(client, recording, cot=cot, strategy=self.strategy)
        right = await is_right(refinement["answer"], recording, equality)
        tally = run.tallies[cot]
        tally.right.append(right)
        tally.cot_right.append(await is_right(refinement["original_answer"], recording, equality))
        tally.decisions[refinement["decision"]] += 1
        tally.programs.append(refinement["usage"]["programs"])
        tally.cancelled += refinement["usage"]["cancelled"]
        run.confidences.append((refinement["confidence"], right))


async def _majority(recordings: Sequence[Recording], sources: Sequence[str]) -> float:
    """The accuracy of a plain vote of twelve programs."""
    strategy = {"name": "pot", "programs": min(_MAJORITY, len(sources)), "overrule": 0}
    gate = asyncio.Semaphore(_AT_ONCE)
    model = RecordedModel(recordings, sources=sources)
    async with server(model) as client, MathVerify() as equality, asyncio.TaskGroup() as group:

        async def one(recording: Recording) -> bool:
            async with gate:
                refinement = await refined(client, recording, cot=None, strategy=strategy)
                return await is_right(refinement["answer"], recording, equality)

        tasks = [group.create_task(one(recording)) for recording in recordings]
    return _mean([task.result() for task in tasks])


def calibration_error(pairs: Sequence[tuple[float, bool]], *, bins: int = 10) -> float:
    """Expected calibration error: |confidence - accuracy| over ten bins, weighted by size."""
    of: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
    for confidence, right in pairs:
        of[min(bins - 1, int(confidence * bins))].append((confidence, right))
    gaps = (
        abs(sum(confidence for confidence, _ in each) - sum(right for _, right in each))
        for each in of.values()
    )
    return sum(gaps) / max(1, len(pairs))


def _table(runs: Sequence[Run], *, majority: float) -> str:
    """Markdown: means over the orders, with the spread of what the strategy got right."""
    rows = ["| CoT source | CoT | majority 12 | refined | margin | corrected | programs/question |"]
    rows.append("|" + " --- |" * 7)
    for source in COT_SOURCES:
        tallies = [run.tallies[source] for run in runs]
        cot = statistics.mean(_mean(each.cot_right) for each in tallies)
        refined_ = [_mean(each.right) for each in tallies]
        mean, spread = statistics.mean(refined_), statistics.pstdev(refined_)
        corrected = statistics.mean(each.decisions["corrected"] for each in tallies)
        programs = statistics.mean(statistics.mean(each.programs) for each in tallies)
        rows.append(
            f"| {source} | {cot:.3f} | {majority:.3f} | {mean:.3f} ± {spread:.3f} "
            f"| {100 * (mean - max(cot, majority)):+.1f} | {corrected:.0f} | {programs:.2f} |"
        )
    every = [n for run in runs for each in run.tallies.values() for n in each.programs]
    return "\n".join([*rows, f"\n{statistics.mean(every):.2f} programs per question"])


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / max(1, len(values))


if __name__ == "__main__":
    typer.run(main)
