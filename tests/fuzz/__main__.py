"""`make fuzz`: tens of thousands of requests made from the server's own schema, at a real server.

`cap serve` with the real sandbox, in front of a model's server that answers at once. First the
cases that cover the schema, then random ones. No answer may be a fault, none other than documented;
and in the end the server is alive and holds no more than after the first part.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx
import typer

from tests import leaks
from tests.fuzz.upstream import MODEL, WRITER
from tests.ports import free_port
from tests.processes import alive
from tests.servers import Serving, serving

_HERE = Path(__file__).parent
_KEY = "a-key"
_ROUTES_WITH_BODIES = 5
"""The others have so few different requests that the first part makes them all."""

_MOST_ROUNDS = 10

_COVERAGE = 2500
"""About as many cases cover the schema."""


@contextmanager
def upstream() -> Iterator[str]:
    """The URL of a model's server, until the context ends."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.fuzz.upstream", str(port)])
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


def cases(
    server: Serving, *, phases: str, seed: int, workers: int, examples: int
) -> tuple[int, bool]:
    """How many cases were sent, and whether all were answered well.

    Each worker is a process with a seed of its own: hypothesis's caches do not bear threads. What
    schemathesis prints is passed on: where it is, the seed, and each failure as curl.
    """
    with ThreadPoolExecutor(workers) as pool:
        asked = partial(_cases, server, phases=phases, examples=examples)
        found = list(pool.map(asked, range(seed, seed + workers)))
    return sum(sent for sent, _ in found), all(well for _, well in found)


def _cases(server: Serving, seed: int, *, phases: str, examples: int) -> tuple[int, bool]:
    command = [
        str(Path(sys.prefix) / "bin" / "schemathesis"),
        f"--config-file={_HERE / 'schemathesis.toml'}",
        "run",
        f"{server.url}/openapi.json",
        f"--header=Authorization: Bearer {_KEY}",
        f"--phases={phases}",
        f"--seed={seed}",
        "--workers=1",
        f"--max-examples={examples}",
    ]
    environment = os.environ | {"PYTHONPATH": str(_HERE.parents[1])}
    said = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(f"{seed}: {line}")
            sys.stdout.flush()
            said += line
    sent = re.search(r"([\d,]+) generated", said)
    number = int(sent[1].replace(",", "")) if sent else 0
    return number, process.returncode == 0


def run(folder: Path, url: str, *, wanted: int, seed: int, workers: int) -> tuple[int, list[str]]:
    """How many cases were sent, and what is wrong with the server."""
    settings = {"MODEL": MODEL, "COT_MODEL": WRITER, "API_KEYS": _KEY, "API_KEYS_EXECUTE": "1"}
    variables = {f"CAP_{name}": value for name, value in settings.items()}
    with serving(folder, url, **variables) as server:
        examples = max(1, (wanted - _COVERAGE) // _ROUTES_WITH_BODIES // workers)
        sent, well = cases(server, phases="coverage", seed=seed, workers=1, examples=1)
        before = leaks.held(server.process.pid)
        # A route that has no new cases to offer ends early; then there is another round.
        for again in range(_MOST_ROUNDS):
            if sent >= wanted:
                break
            more, well_too = cases(
                server,
                phases="fuzzing",
                seed=seed + again * workers,
                workers=workers,
                examples=examples,
            )
            sent, well = sent + more, well and well_too
        wrong = [] if well else ["answers that are not as documented: see above"]
        if server.process.poll() is not None:
            return sent, [*wrong, "the server has ended"]
        wrong += asyncio.run(leaks.leaked(server.process.pid, before))
        typer.echo(f"before {before}\nafter  {leaks.held(server.process.pid)}")
        if httpx.get(f"{server.url}/ready", timeout=30, trust_env=False).status_code != 200:
            wrong.append("the server is not ready any more")
        if faults := re.findall(r'Traceback|"event": "fault"|Exception in', server.said()):
            wrong.append(f"{len(faults)} faults in the server's log")
        server.process.terminate()
        server.process.wait(60)
        if left := alive(server.started, within_s=30):
            wrong.append(f"{len(left)} processes outlived the server")
        return sent, wrong


def main(
    wanted: Annotated[int, typer.Option("--cases", help="How many, at least.")] = 20_000,
    seed: Annotated[int | None, typer.Option(help="Repeats a run; random if not given.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that send cases.")] = 2,
) -> None:
    """Send the cases, and fail where anything was wrong."""
    chosen = random.SystemRandom().randrange(2**32) if seed is None else seed
    typer.echo(f"seed {chosen}: make fuzz SEED={chosen} repeats this run")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cap-fuzz-") as folder, upstream() as url:
        sent, wrong = run(Path(folder), url, wanted=wanted, seed=chosen, workers=workers)
    if sent < wanted:
        wrong.append(f"only {sent} cases of {wanted}")
    minutes = (time.monotonic() - began) / 60
    typer.echo(f"{sent} cases in {minutes:.1f} minutes, seed {chosen}: {wrong or 'nothing wrong'}")
    if wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
