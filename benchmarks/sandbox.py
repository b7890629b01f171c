"""What a program costs in the sandbox, and what it costs in other ways of running one.

Every way runs the same programs in turns, in one run, so that whatever else the machine does falls
on all of them. Other interpreters join where they are installed:

    pip install pebble pydantic-monty smolagents

Each program has numbers of its own: nothing is answered out of a cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import io
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cap_sandbox import Limits, Pool
from cap_sandbox.kinds import KINDS, Kind

PROGRAMS = {
    "arithmetic": """
def solution():
    eggs, eaten = {n}, 3 + 4
    total = 0
    for day in range(7):
        total += (eggs - eaten) * 2
    return total / 7
print(solution())
""",
    "sympy": """
from sympy import symbols, solve
x = symbols("x")
print(solve(x**2 - {sum} * x + {product}, x))
""",
}
"""The kinds of programs: what a grade-school question needs, and what an equation needs."""

_FIRST_NUMBER = 11
# Long enough for a pool to have the next process ready.
_PAUSE_S = 0.05
# What a way still does when the answer is there, such as preparing for the next one, is its cost.
_SETTLE_S = 0.25
_LIMITS = Limits(wall_s=30)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_FORK_LOOP = """
import os, sys
from cap_sandbox import preload
runner = preload.warm_runner(sys.argv[1], policy=True)
preload.settle(runner, sys.argv[1])
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    print(flush=True)
"""

_out = Console()
_err = Console(stderr=True)

Run = Callable[[str], Awaitable[str]]


@dataclass
class Way:
    """One way to run a program, and what it took.

    Attributes:
        run: runs a program and returns what it printed.
        at_once: how many programs are given to it at a time.
        pause_s: before each program; what is left out of the time.
        checked: whether it runs programs at all; the floor only forks.
    """

    name: str
    run: Run
    at_once: int = 1
    pause_s: float = 0.0
    checked: bool = True
    latencies_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    fault: str = ""

    def row(self) -> list[str]:
        if self.fault:
            return [self.name, str(self.at_once), self.fault, *[""] * 4]
        count = len(self.latencies_s)
        marks = [f"{1000 * _quantile(self.latencies_s, part):.2f}" for part in (0.5, 0.95, 0.99)]
        rate = "" if self.pause_s else f"{count / self.wall_s:.0f}"
        at_once = f"{self.at_once}, with pauses" if self.pause_s else str(self.at_once)
        return [self.name, at_once, *marks, rate, f"{1000 * self.cpu_s / count:.2f}"]


def main(
    programs: Annotated[int, typer.Option(help="Of each kind, for each way.", min=2)] = 300,
    rounds: Annotated[int, typer.Option(help="Turns that they are split into.", min=1)] = 10,
    workers: Annotated[int, typer.Option(help="Processes of each pool.", min=1)] = len(
        os.sched_getaffinity(0)
    ),
    peers: Annotated[bool, typer.Option(help="Whether other interpreters join.")] = True,
) -> None:
    """Print a table for each kind of program, and what machine it was."""
    asyncio.run(_run(programs, rounds, workers, peers))


async def _run(programs: int, rounds: int, workers: int, peers: bool) -> None:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(Pool(workers=workers))
        runs = _runs(stack, pool, workers, peers)
        for kind in PROGRAMS:
            ways = _ways(runs, workers)
            for _ in range(rounds):
                for way in ways:
                    await _measure(way, kind, max(programs // rounds, 1))
            _show(kind, ways)
        _out.print(await _spares_line(), soft_wrap=True)
        _out.print(_machine_line(pool, workers), soft_wrap=True)


def _runs(stack: AsyncExitStack, pool: Pool, workers: int, peers: bool) -> dict[str, Run | None]:
    """Each way by its name; None for one that is not installed."""
    runs: dict[str, Run | None] = {
        "this sandbox": lambda program: _in_sandbox(pool, program),
        "a fresh Python process": _awaitable(_in_fresh_process),
        **{f"fork and wait, {kind}": stack.enter_context(_forks(kind)) for kind in KINDS},
    }
    if peers:
        for name, (module, join) in _PEERS.items():
            found = importlib.util.find_spec(module) is not None
            runs[name] = stack.enter_context(join(workers)) if found else None
    return runs


def _ways(runs: dict[str, Run | None], workers: int) -> list[Way]:
    ways = []
    for name, run in runs.items():
        pace = ((1, _PAUSE_S), (1, 0.0), (2 * workers, 0.0)) if name in _POOLS else ((1, 0.0),)
        for at_once, pause_s in pace:
            way = Way(name, run or _awaitable(str), at_once=at_once, pause_s=pause_s)
            way.checked = "fork" not in name
            way.fault = "" if run else "not installed"
            ways.append(way)
    return ways


async def _measure(way: Way, kind: str, count: int) -> None:
    """Run `count` programs one way, unless it has shown that it cannot."""
    if way.fault:
        return
    first = _FIRST_NUMBER + len(way.latencies_s)
    numbers = iter(range(first, first + count))
    cpu_s, started = _cpu_s(), time.perf_counter()
    try:
        await asyncio.gather(*(_drain(way, kind, numbers) for _ in range(way.at_once)))
    # Whatever another project's interpreter raises is what the table has to say of it.
    except Exception as error:  # noqa: BLE001
        way.fault = f"cannot: {type(error).__name__}"
    way.wall_s += time.perf_counter() - started
    await asyncio.sleep(_SETTLE_S)
    way.cpu_s += _cpu_s() - cpu_s


async def _drain(way: Way, kind: str, numbers: Iterator[int]) -> None:
    for n in numbers:
        program = PROGRAMS[kind].format(n=n, sum=2 * n + 1, product=n * (n + 1))
        await asyncio.sleep(way.pause_s)
        started = time.perf_counter()
        printed = await way.run(program)
        way.latencies_s.append(time.perf_counter() - started)
        if way.checked and printed.strip() != _expected(kind, n):
            raise ValueError(printed)


def _expected(kind: str, n: int) -> str:
    return str([n, n + 1]) if kind == "sympy" else str(float((n - 7) * 2))


# The ways


async def _in_sandbox(pool: Pool, program: str) -> str:
    execution = await pool.execute(program, limits=_LIMITS)
    return execution.stdout


def _in_fresh_process(program: str) -> str:
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def _forks(kind: Kind) -> Iterator[Run]:
    """A process as large as the sandbox's warm one, which forks and waits for each line."""
    command = [sys.executable, "-c", _FORK_LOOP, kind]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def fork(program: str) -> str:
            stdin.write("\n")
            stdin.flush()
            return stdout.readline()

        fork("")
        yield _awaitable(fork)


@contextmanager
def _pebble(workers: int) -> Iterator[Run]:
    """A warm process pool: no isolation, no kernel layer, and processes that are used again."""
    context = multiprocessing.get_context("spawn")
    process_pool = importlib.import_module("pebble").ProcessPool
    with process_pool(max_workers=workers, initializer=_import_sympy, context=context) as pool:

        async def run(program: str) -> str:
            future = pool.schedule(_in_this_process, args=[program], timeout=_LIMITS.wall_s)
            return str(await asyncio.wrap_future(future))

        for future in [pool.schedule(_in_this_process, args=["1"]) for _ in range(8 * workers)]:
            future.result()
        yield run


def _import_sympy() -> None:
    importlib.import_module("sympy")


def _in_this_process(program: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})
    return stdout.getvalue()


@contextmanager
def _monty(workers: int) -> Iterator[Run]:
    """An interpreter, in Rust, of a subset of Python; its processes are a pool too."""
    monty = importlib.import_module("pydantic_monty")
    with monty.Monty(min_processes=workers) as pool:

        def run(program: str) -> str:
            printed = monty.CollectString()
            with pool.checkout() as session:
                session.feed_run(program, print_callback=printed)
            return str(printed.output)

        yield _awaitable(run)


@contextmanager
def _smolagents(workers: int) -> Iterator[Run]:
    """An interpreter of the syntax tree, in this very process."""
    local = importlib.import_module("smolagents.local_python_executor")
    _import_sympy()

    def run(program: str) -> str:
        interpreter: Any = local.LocalPythonExecutor(["sympy"])
        interpreter.send_tools({})
        return str(interpreter(program).logs)

    yield _awaitable(run)


def _awaitable(run: Callable[[str], str]) -> Run:
    async def awaitable(program: str) -> str:
        return run(program)

    return awaitable


_PEERS = {
    "pebble's process pool, no isolation": ("pebble", _pebble),
    "pydantic-monty": ("pydantic_monty", _monty),
    "smolagents' interpreter": ("smolagents", _smolagents),
}
_POOLS = ("this sandbox", "pebble's process pool, no isolation")


# What the machine says


def _family() -> dict[int, list[str]]:
    """The fields of `/proc/PID/stat` after the name, of this process and all that stem from it."""
    known = dict(_processes())
    family = {os.getpid(): known[os.getpid()]}
    while more := {p: f for p, f in known.items() if int(f[1]) in family and p not in family}:
        family |= more
    return family


def _processes() -> Iterator[tuple[int, list[str]]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            yield int(path.parent.name), path.read_text().rpartition(")")[2].split()


def _cpu_s() -> float:
    """Processor seconds of this process, its descendants, and those of them that have ended."""
    ticks = sum(sum(map(int, fields[11:15])) for fields in _family().values())
    return ticks / _TICKS_PER_S


def _private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


async def _spares_line() -> str:
    """What the processes that wait for their program have for themselves alone."""
    await asyncio.sleep(2 * _SETTLE_S)
    try:
        sizes = {kind: statistics.median(map(_private_mib, _spares(kind))) for kind in KINDS}
    except OSError:
        return "The memory of an idle spare can be read by root only."
    told = ", ".join(f"{kind} {size:.1f} MiB" for kind, size in sizes.items())
    return f"What an idle spare has for itself alone: {told}."


def _spares(kind: Kind) -> list[int]:
    """The children of this process's children that the jail has left with one descriptor."""
    found = []
    for pid in _family():
        limits = Path(f"/proc/{pid}/limits").read_text()
        ours = kind.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if ours and "Max open files            1 " in limits:
            found.append(pid)
    return found


def _machine_line(pool: Pool, workers: int) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}; load "
        f"{os.getloadavg()[0]:.1f}; {workers} workers, tier {pool.tier}."
    )


def _show(kind: str, ways: list[Way]) -> None:
    head = [kind, "at once", "p50 ms", "p95 ms", "p99 ms", "programs/s", "CPU ms"]
    rows = [head, ["---"] * len(head), *(way.row() for way in ways)]
    for row in rows:
        _out.print(f"| {' | '.join(row)} |", soft_wrap=True, highlight=False)
    _out.print()


def _quantile(values: list[float], part: float) -> float:
    return sorted(values)[min(int(part * len(values)), len(values) - 1)]


if __name__ == "__main__":
    typer.run(main)
