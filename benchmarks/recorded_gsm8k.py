"""Strategies over real CoTs and real programs, through the real server and the real sandbox.

The models' answers are replayed from a file of recordings, one JSON object a line (`question`,
`answer`, `cots` and `programs` by source), so a run costs no model and every strategy sees the same
texts. Draw i of a question is the i-th of the program sources; everything else, from HTTP to the
sandbox, is what a user of the server gets.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections import Counter
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
    "gpt-3.5-turbo_COT",
    "gpt4_COT",
)
PROGRAM_SOURCES = "code002_"

STRATEGIES: dict[str, dict[str, Any]] = {
    "single": {"name": "single"},
    "pot 5": {"name": "pot", "programs": 5},
    "majority 5": {"name": "majority", "programs": 5},
    "majority 12": {"name": "majority", "programs": 12},
    "majority 5, overrule 0": {"name": "majority", "programs": 5, "overrule": 0},
    "majority 12, overrule 0": {"name": "majority", "programs": 12, "overrule": 0},
    "agreement": {"name": "agreement"},
    "adaptive": {"name": "adaptive"},
}

_AT_ONCE = 8

_out = Console()
_err = Console(stderr=True)


@dataclass
class Tally:
    """What became of the questions under one CoT source and one strategy."""

    questions: int = 0
    cot_right: int = 0
    right: int = 0
    fixed: int = 0
    broken: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    programs: int = 0
    executions: int = 0

    def row(self) -> list[str]:
        kept = self.decisions["kept"] + self.decisions["unresolved"]
        return [
            f"{self.cot_right / self.questions:.3f}",
            f"{self.right / self.questions:.3f}",
            str(self.fixed),
            str(self.broken),
            str(kept),
            f"{self.programs / self.questions:.2f}",
        ]


def main(
    file: Annotated[Path, typer.Argument(help="Recordings, .jsonl or .jsonl.gz.", exists=True)],
    limit: Annotated[int | None, typer.Option(help="Only the first questions.", min=1)] = None,
) -> None:
    """Print, for every CoT source and strategy, what refinement made of it."""
    configure_logs("warning")
    recordings = read_recordings(file)[:limit]
    sources = [name for name in recordings[0].programs if name.startswith(PROGRAM_SOURCES)]
    started = time.perf_counter()
    tallies = asyncio.run(_run(recordings, sources))
    _out.print(_table(tallies), soft_wrap=True)
    requests = sum(tally.questions for tally in tallies.values())
    programs = sum(tally.executions for tally in tallies.values())
    wall_s = time.perf_counter() - started
    _out.print(
        f"{requests} requests and {programs} executions in {wall_s:.0f} s "
        f"({requests / wall_s:.0f} requests/s) on {len(os.sched_getaffinity(0))} cores, "
        f"{platform.machine()}, Python {platform.python_version()}"
    )


async def _run(
    recordings: Sequence[Recording], sources: Sequence[str]
) -> dict[tuple[str, str], Tally]:
    tallies = {(cot, name): Tally() for cot in COT_SOURCES for name in STRATEGIES}
    model = RecordedModel(recordings, sources=sources)
    async with server(model) as client, MathVerify() as equality:
        run = _Run(client, equality, asyncio.Semaphore(_AT_ONCE))
        with Progress(console=_err) as progress:
            for key, tally in progress.track(tallies.items(), description="refining"):
                async with asyncio.TaskGroup() as group:
                    for recording in recordings:
                        group.create_task(run.question(recording, *key, tally=tally))
    return tallies


@dataclass(frozen=True)
class _Run:
    client: httpx.AsyncClient
    equality: MathVerify
    gate: asyncio.Semaphore

    async def question(
        self, recording: Recording, cot_source: str, strategy: str, *, tally: Tally
    ) -> None:
        async with self.gate:
            refinement = await refined(
                self.client, recording, cot=cot_source, strategy=STRATEGIES[strategy]
            )
            await _count(tally, recording, refinement, self.equality)


async def _count(
    tally: Tally, recording: Recording, refinement: dict[str, Any], equality: MathVerify
) -> None:
    before = await is_right(refinement["original_answer"], recording, equality)
    after = await is_right(refinement["answer"], recording, equality)
    tally.questions += 1
    tally.cot_right += before
    tally.right += after
    tally.fixed += after and not before
    tally.broken += before and not after
    tally.decisions[refinement["decision"]] += 1
    tally.programs += refinement["usage"]["programs"]
    tally.executions += refinement["usage"]["executions"]


def _table(tallies: dict[tuple[str, str], Tally]) -> str:
    """Markdown, to be pasted into `docs/benchmarks.md`."""
    head = ("CoT source", "strategy", "CoT", "refined", "corrected", "broken", "kept",
            "programs/question")  # fmt: skip
    rows = [head, ("---",) * len(head), *((*key, *tally.row()) for key, tally in tallies.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    typer.run(main)
