"""All benchmarks that need no data but what is here, and their tables into docs/: `make bench`.

    .venv/bin/python benchmarks/everything.py
    .venv/bin/python benchmarks/everything.py --only peers

What a benchmark prints goes between its two markers on its page, with the day and the machine's
load, so that a figure from a busy machine says so. The sentences around them are people's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

_HERE = Path(__file__).parent
_DOCS = _HERE.parent / "docs"

_err = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Attributes: command: script and options; page: of `docs/`, with the markers `name`."""

    name: str
    command: tuple[str, ...]
    page: str


BENCHMARKS = (
    Benchmark("performance", ("performance.py", "--flame", "docs/performance-flame.svg"),
              "performance.md"),
    Benchmark("tokens", ("engine_tokens.py",), "performance.md"),
    Benchmark("capacity", ("capacity.py",), "operations.md"),
    Benchmark("sandbox", ("sandbox.py", "--programs", "200", "--rounds", "2"), "benchmarks.md"),
    Benchmark("peers", ("peers.py", "--rounds", "2"), "benchmarks.md"),
)  # fmt: skip


def written(page: str, name: str, told: str) -> str:
    """`page` with `told` between its markers.

    Raises:
        ValueError: it has no such markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no markers {begin} and {end}")
    return f"{before}{begin}\n\n{told.strip()}\n\n{end}{after}"


def main(
    only: Annotated[list[str] | None, typer.Option(help="Name of one; repeat it for more.")] = None,
) -> None:
    known = [each.name for each in BENCHMARKS]
    if unknown := set(only or ()) - set(known):
        _err.print(
            f"--only: no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
        raise typer.Exit(2)
    failed = []
    for benchmark in BENCHMARKS:
        if only and benchmark.name not in only:
            continue
        _err.print(f"[bold]{benchmark.name}[/bold]: {' '.join(benchmark.command)}")
        if not _run(benchmark):
            failed.append(benchmark.name)
    if failed:
        _err.print(f"failed, their tables are as they were: {', '.join(failed)}")
        raise typer.Exit(1)


def _run(benchmark: Benchmark) -> bool:
    script, *options = benchmark.command
    load, started = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(  # our own scripts, no shell
        [sys.executable, str(_HERE / script), *options],
        cwd=_HERE.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        return False
    sys.stdout.write(done.stdout)
    took = (
        f"{time.strftime('%Y-%m-%d')}: {time.monotonic() - started:.0f} s; "
        f"the machine's load before was {load:.1f}."
    )
    page = _DOCS / benchmark.page
    told = f"{done.stdout.strip()}\n\n{took}"
    page.write_text(written(page.read_text("utf-8"), benchmark.name, told), "utf-8")
    return True


if __name__ == "__main__":
    typer.run(main)
