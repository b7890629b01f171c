"""Where a request's processor time goes, and how it grows: docs/performance.md's table and plots.

    .venv/bin/python benchmarks/performance.py --flame docs/performance-flame.svg

Processor time of the server's process, of its sandbox's processes beside it, and, as the floor, of
a bare uvicorn that reads the same JSON and writes some: it hardly depends on what else the machine
does. That bare uvicorn is the model's server, `peers_upstream.py`.
"""

from __future__ import annotations

import asyncio
import math
import os
import platform
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Annotated

import typer
import uvloop
from matplotlib.figure import Figure
from peers_load import Ask, load
from peers_servers import CAP, QUESTION, WRONG_COT, Running, behave, running, upstream
from rich.console import Console

_HERE = Path(__file__).parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SAMPLES = (1, 2, 4, 8, 16, 32)
_LENGTHS = (100, 1_000, 4_000, 8_000, 16_000)
_AT_ONCE = (1, 2, 4, 8, 16, 32, 64)
_AFTER_S = 0.02
_FLAMES = "Votes of eight, eight at a time"

_out = Console(width=10_000, highlight=False, markup=False)
_err = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request. Attributes: server_ms, programs_ms, floor_ms: processor time."""

    p50_ms: float
    per_s: float
    server_ms: float
    programs_ms: float
    floor_ms: float


@dataclass(frozen=True)
class Bench:
    """Attributes: requests: of each point; points: of each curve, at most."""

    model: Running
    server: Running
    requests: int
    points: int

    async def cost(self, ask: Ask, *, at_once: int) -> Cost:
        """Fails where a request fails: its figures would be of something else."""
        count = max(self.requests, 2 * at_once)
        before = self._used()
        taken = await load(self.server.port, [ask] * count, at_once=at_once)
        after = self._used()
        assert not taken.failed, taken.failed
        server, programs, floor = (
            1000 * (b - a) / count for a, b in zip(before, after, strict=True)
        )
        return Cost(taken.percentile(0.5) * 1000, taken.per_s, server, programs, floor)

    def _used(self) -> tuple[float, float, float]:
        return self.server.cpu_s(), _below(self.server.pid), self.model.cpu_s()


def _below(pid: int) -> float:
    """Seconds that the processes below `pid` used, with those of them that have ended."""
    used, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(stat.parent.name)] = int(fields[1])
        used[int(stat.parent.name)] = sum(map(int, fields[11:15]))

    def is_below(child: int) -> bool:
        while child in parents:
            child = parents[child]
            if child == pid:
                return True
        return False

    # What a process's ended children used is told with its own; the server's are told here.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended = int(fields[13]) + int(fields[14])
    return (ended + sum(spent for each, spent in used.items() if is_below(each))) / _TICKS_PER_S


def _majority(programs: int, *, question: str = QUESTION) -> Ask:
    strategy = {"name": "majority", "programs": programs}
    return Ask("/v1/refine", {"question": question, "cot": WRONG_COT, "strategy": strategy})


def _long(length: int) -> Ask:
    filler = islice(_sentences(), length // 30)
    return _majority(4, question=f"{' '.join(filler)} {QUESTION}")


def _sentences() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"Shelf {number} held {number * 7} books."


async def _table(bench: Bench) -> Mapping[str, Cost]:
    asks = {
        "plain answer, passed through": CAP.passes,
        "`cap`, nothing to refine": CAP.greets,
        "`/v1/refine`, `single`": CAP.refines,
        "`/v1/refine`, `majority` of 8": CAP.votes,
    }
    told = {}
    for what, ask in asks.items():
        assert ask is not None
        _err.print(what)
        told[what] = await bench.cost(ask, at_once=8)
    return told


async def _curves(bench: Bench) -> Mapping[str, Sequence[tuple[int, Cost]]]:
    curves: dict[str, list[tuple[int, Cost]]] = {"samples": [], "length": [], "at once": []}
    for samples in _SAMPLES[: bench.points]:
        _err.print(f"{samples} samples")
        curves["samples"].append((samples, await bench.cost(_majority(samples), at_once=4)))
    for length in _LENGTHS[: bench.points]:
        _err.print(f"a question of {length} characters")
        curves["length"].append((length, await bench.cost(_long(length), at_once=4)))
    for at_once in _AT_ONCE[: bench.points]:
        _err.print(f"{at_once} at once")
        curves["at once"].append((at_once, await bench.cost(CAP.passes, at_once=at_once)))
    return curves


def _plot(curves: Mapping[str, Sequence[tuple[int, Cost]]], folder: Path) -> None:
    labels = {
        "samples": "samples asked for (majority)",
        "length": "characters of the question (majority of 4)",
        "at once": "plain answers at once",
    }
    for name, points in curves.items():
        figure = Figure(figsize=(6, 3.4), layout="constrained")
        axes = figure.subplots()
        x = [at for at, _ in points]
        axes.plot(x, [cost.server_ms for _, cost in points], "o-", label="server")
        if name != "at once":
            axes.plot(x, [cost.programs_ms for _, cost in points], "s-", label="programs")
        axes.plot(x, [cost.floor_ms for _, cost in points], "--", label="floor: socket and JSON")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(labels[name])
        axes.set_ylabel("CPU ms a request")
        figure.legend(loc="outside upper center", ncols=3, frameon=False)
        figure.savefig(folder / f"performance-{name.replace(' ', '-')}.png", dpi=120)


@contextmanager
def _flames(server: Running, file: Path) -> Iterator[None]:
    """A graph of where the server is, as py-spy finds it meanwhile; named after what it shows."""
    spy = [str(Path(sys.executable).parent / "py-spy"), "record", "--rate", "200"]
    title = ["--pid", str(server.pid), "--output", str(file), "--function", "--duration", "3600"]
    with Popen([*spy, *title], stdout=DEVNULL, stderr=DEVNULL) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
    # py-spy puts its own command there, with the paths of this machine.
    told = re.sub(r'(?<=id="title")([^>]*>)[^<]*', rf"\g<1>{_FLAMES}", file.read_text("utf-8"))
    file.write_text(told, "utf-8")


def _lines(told: Mapping[str, Cost]) -> Iterator[str]:
    yield "| asked, 8 at once | p50 ms | requests/s | server, CPU ms | programs, CPU ms | floor |"
    yield "|" + " --- |" * 6
    for what, cost in told.items():
        figures = (cost.p50_ms, cost.per_s, cost.server_ms, cost.programs_ms, cost.floor_ms)
        yield f"| {what} | " + " | ".join(f"{each:.2f}" for each in figures) + " |"


async def _run(requests: int, *, points: int, state: Path, plots: Path, flame: Path | None) -> None:
    async with upstream(delay_s=0) as model, running(CAP, of=model, state=state) as server:
        await behave(model, delay_s=_AFTER_S)
        bench = Bench(model, server, requests, points)
        await load(server.port, [_majority(8)] * min(16, requests), at_once=4)
        told = await _table(bench)
        _out.print("\n".join(_lines(told)))
        _plot(await _curves(bench), plots)
        if flame is not None:
            with _flames(server, flame):
                await asyncio.sleep(1.0)  # py-spy reads the process first
                await load(server.port, [_majority(8)] * math.ceil(requests / 2), at_once=8)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    _out.print(f"\nThe upstream answers after {_AFTER_S:g} s. {machine}.")


def main(
    requests: Annotated[int, typer.Option(min=1, help="Of each point.")] = 200,
    points: Annotated[int, typer.Option(min=1, help="Of each curve, at most.")] = 99,
    plots: Annotated[
        Path, typer.Option(help="Folder that the plots are written to.")
    ] = _HERE.parent / "docs",
    flame: Annotated[Path | None, typer.Option(help="SVG to write: a flame graph.")] = None,
    state: Annotated[Path, typer.Option(help="For logs.")] = _HERE.parent / ".state/peers",
) -> None:
    state.mkdir(parents=True, exist_ok=True)
    plots.mkdir(parents=True, exist_ok=True)
    uvloop.run(_run(requests, points=points, state=state, plots=plots, flame=flame))


if __name__ == "__main__":
    typer.run(main)
