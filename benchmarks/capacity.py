"""How many refinements a core of the server carries, and how many a core of the sandbox.

    .venv/bin/python benchmarks/capacity.py --refinements 600

A real server and a real sandbox service, each a process of its own, and a model that answers at
once: what is measured is what the model's own time hides. Processor time per refinement is the
figure to plan with; it hardly depends on what else the machine does. Refinements per second do.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

_BIN = Path(sys.executable).parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROGRAM = """
def solution():
    laid, eaten = {n}, {n} - 9
    week = 0
    for day in range(7):
        week += (laid - eaten) * 2
    return week / 7
answer = solution()
"""
_QUESTION = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast and bakes muffins for her "
    "friends with four. She sells the rest for $2 per egg. How much does she make every day?"
)
_COT = "She sells 16 - 3 - 4 = 9 eggs a day. She makes 9 * 2 = $26. The answer is 26."


def main(
    refinements: Annotated[int, typer.Option(help="To measure, after a warm-up.")] = 600,
    at_once: Annotated[int, typer.Option(help="Requests under way at once.")] = 16,
    programs: Annotated[int, typer.Option(help="Programs of each, all different.")] = 3,
) -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measured(Path(folder), refinements, at_once=at_once, programs=programs))


async def _measured(folder: Path, refinements: int, *, at_once: int, programs: int) -> None:
    async with _model() as model_url:
        sandbox = f"unix://{folder}/sandbox.sock"
        port = _free_port()
        variables = {
            "CAP_MODEL_URL": model_url,
            "CAP_SANDBOX_URL": sandbox,
            "CAP_STATE_DIR": str(folder),
            "CAP_PORT": str(port),
        }
        serve = [str(_BIN / "cap-sandbox"), "serve", "--bind", sandbox]
        with (
            _process(serve, variables) as pool,
            _process([str(_BIN / "cap"), "serve"], variables) as cap,
        ):
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", timeout=120
            ) as client:
                await _ready(client)
                await _load(client, max(20, refinements // 10), at_once=at_once, programs=programs)
                before = [_cpu_s(cap.pid), _cpu_s(pool.pid)]
                started = time.perf_counter()
                await _load(client, refinements, at_once=at_once, programs=programs)
                wall_s = time.perf_counter() - started
                spent = [_cpu_s(each.pid) - b for each, b in zip((cap, pool), before, strict=True)]
                memory = [_memory_mb(each.pid) for each in (cap, pool)]
    out = Console(width=10_000, highlight=False, markup=False)
    out.print(
        f"{refinements} refinements of {programs} programs, {at_once} at once, {wall_s:.1f} s\n"
    )
    out.print("| | CPU ms / refinement | refinements / s / core | MB |\n| --- | --- | --- | --- |")
    for name, cpu_s, mb in zip(("server", "sandbox"), spent, memory, strict=True):
        each_ms = 1000 * cpu_s / refinements
        out.print(f"| {name} | {each_ms:.1f} | {1000 / each_ms:.0f} | {mb:.0f} |")
    out.print(
        f"\n{refinements / wall_s:.0f} refinements / s on {len(os.sched_getaffinity(0))} cores, "
        "which this script shares."
    )


async def _load(client: httpx.AsyncClient, n: int, *, at_once: int, programs: int) -> None:
    strategy = {"name": "majority", "programs": programs}
    body = {"question": _QUESTION, "cot": _COT, "strategy": strategy}
    left = iter(range(n))

    async def worker() -> None:
        for _ in left:
            answer = (await client.post("/v1/refine", json=body)).raise_for_status().json()
            assert answer["usage"]["executions"] == programs, answer

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())


@asynccontextmanager
async def _model() -> AsyncIterator[str]:
    """A server of chat completions that writes another program each time, at once."""
    numbers = itertools.count(100)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n")
                     if line.startswith(b"content-length:")), 0,
                )  # fmt: skip
                await reader.readexactly(length)
                content = json.dumps(_reply(next(numbers), models=head.startswith(b"GET"))).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n" % len(content) + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            return  # the client left, or this script is through
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def _reply(number: int, *, models: bool) -> Mapping[str, object]:
    if models:
        return {"data": [{"id": "cap-small"}]}
    message = {"content": _PROGRAM.format(n=number)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 250, "completion_tokens": 90}}


@contextmanager
def _process(argv: list[str], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    silent = subprocess.DEVNULL
    process = subprocess.Popen(argv, env=os.environ | variables, stdout=silent, stderr=silent)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


async def _ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(120):
        while True:
            try:
                if (await client.get("/ready")).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.2)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            yield from _family(int(child))


def _cpu_s(pid: int) -> float:
    """Processor time of a process and all that it started, those that have ended included."""
    ticks = 0
    for each in _family(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS_PER_S


def _memory_mb(pid: int) -> float:
    """Proportional: what processes share is counted once."""
    total_kb = 0
    for each in _family(pid):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total_kb += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kb / 1000


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    typer.run(main)
