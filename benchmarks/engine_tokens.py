"""What of vLLM's own token throughput is left behind this server, and what early decisions save.

    .venv/bin/python benchmarks/engine_tokens.py

A real vLLM with `models/cap-small` (or `--model`), on this machine, is given the same prompts in
turns: straight, eight draws of each, and through the server, as votes of eight and by `adaptive`,
which end when they are decided. Tokens are counted by vLLM itself, those of cancelled draws too.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from peers_load import Ask, ask, load
from peers_servers import CAP, UPSTREAM, Running, running
from rich.console import Console

from cap_server.domain import Prior, Problem
from cap_server.engine import Engine, EngineOptions, runs_on_gpu
from cap_server.prompts import PROMPT_FORMATS
from cap_server.settings import Settings

_HERE = Path(__file__).parent
_QUESTIONS = _HERE / "simple_questions.jsonl"
_DRAWS = 8
_TEMPERATURE = 0.7
_TOKENS = "vllm:generation_tokens_total"

_out = Console(width=10_000, highlight=False, markup=False)
_err = Console(stderr=True)

Row = dict[str, Any]


@dataclass
class Spent:
    """Of one way to ask. Attributes: tokens: generated, as vLLM counts them."""

    questions: int = 0
    tokens: float = 0.0
    wall_s: float = 0.0
    seconds: list[float] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        return self.tokens / self.wall_s

    @property
    def per_question(self) -> float:
        return self.tokens / self.questions


def _straight(rows: Sequence[Row], model: str) -> list[Ask]:
    """Each question's draws one by one, as the server sends them."""
    asks = []
    for row in rows:
        problem = Problem(row["question"], prior=Prior(cot=row["wrong"]))
        prompt = PROMPT_FORMATS["trained"].program_prompt(problem)
        body = {
            "model": model,
            "messages": [{"role": each.role, "content": each.content} for each in prompt.messages],
            "temperature": _TEMPERATURE,
            "top_p": 0.95,
            "max_tokens": 512,
        }
        asks += [Ask("/v1/chat/completions", body)] * _DRAWS
    return asks


def _through(rows: Sequence[Row], strategy: Row) -> list[Ask]:
    return [
        Ask("/v1/refine", {"question": row["question"], "cot": row["wrong"], "strategy": strategy,
                           "sampling": {"temperature": _TEMPERATURE, "max_tokens": 512}})
        for row in rows
    ]  # fmt: skip


@asynccontextmanager
async def _engine(model: Path) -> AsyncIterator[Running]:
    python = Settings().engine_python
    if not python.exists():
        raise SystemExit(f"no vLLM at {python.parents[1]}: run `make setup`")
    with tempfile.TemporaryDirectory() as folder:
        options = EngineOptions(
            python=python,
            model=model,
            served_name=model.name,
            port=_free_port(),
            log=Path(folder) / "engine.log",
            cache=_HERE.parent / ".state/engine-cache",
            gpu=runs_on_gpu(python),
        )
        async with Engine(options) as engine:
            await engine.ready(timeout_s=300, progress=lambda what: _err.print(what))
            yield Running(UPSTREAM, options.port, os.getpid())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def _generated(engine: Running) -> float:
    told = (await ask(engine.port, Ask("/metrics"))).content.decode()
    return sum(float(line.split()[-1]) for line in told.splitlines() if line.startswith(_TOKENS))


async def _measure(spent: Spent, engine: Running, port: int, asks: list[Ask], *, at_once: int,
                   questions: int) -> None:  # fmt: skip
    before, started = await _generated(engine), time.perf_counter()
    taken = await load(port, asks, at_once=at_once)
    spent.wall_s += time.perf_counter() - started
    assert not taken.failed, taken.failed
    await asyncio.sleep(0.5)  # vLLM counts what it has just ended
    spent.tokens += await _generated(engine) - before
    spent.questions += questions
    spent.seconds += taken.seconds


async def _run(model: Path, *, rounds: int, at_once: int) -> dict[str, Spent]:
    rows = [json.loads(line) for line in _QUESTIONS.read_text("utf-8").splitlines()]
    ways = {
        "a vote": _through(rows, {"name": "majority", "programs": _DRAWS}),
        "`adaptive`": _through(rows, {"name": "adaptive", "max_programs": _DRAWS}),
    }
    told = {"vLLM itself": Spent(), **{name: Spent() for name in ways}}
    async with _engine(model) as engine:
        ours = replace(
            CAP, environment=lambda _, url: {"CAP_MODEL_URL": url, "CAP_MODEL": model.name}
        )
        with tempfile.TemporaryDirectory() as state:
            async with running(ours, of=engine, state=Path(state)) as server:
                straight = _straight(rows, model.name)
                await load(engine.port, straight[:16], at_once=16)
                await load(server.port, ways["a vote"][:4], at_once=4)
                for turn in range(rounds):
                    _err.print(f"round {turn + 1} of {rounds}")
                    await _measure(told["vLLM itself"], engine, engine.port, straight,
                                   at_once=at_once * _DRAWS, questions=len(rows))  # fmt: skip
                    for name, asks in ways.items():
                        await _measure(told[name], engine, server.port, asks,
                                       at_once=at_once, questions=len(rows))  # fmt: skip
    return told


def _table(told: dict[str, Spent]) -> str:
    own = told["vLLM itself"]
    lines = [
        "| | tokens/s | of vLLM's own | tokens a question | saved | questions/s |",
        "|" + " --- |" * 6,
    ]
    for name, spent in told.items():
        lines.append(
            f"| {name} | {spent.per_s:.0f} | {spent.per_s / own.per_s:.0%} "
            f"| {spent.per_question:.0f} | {1 - spent.per_question / own.per_question:.0%} "
            f"| {spent.questions / spent.wall_s:.2f} |"
        )
    return "\n".join(lines)


def main(
    model: Annotated[Path, typer.Option(help="Folder.")] = _HERE.parent / "models/cap-small",
    rounds: Annotated[int, typer.Option(help="Turns of both ways.")] = 3,
    at_once: Annotated[int, typer.Option(help="Votes under way at once.")] = 8,
) -> None:
    told = asyncio.run(_run(model.resolve(), rounds=rounds, at_once=at_once))
    _out.print(_table(told))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    _out.print(f"\n{at_once} questions under way at once, {_DRAWS} draws each. {machine}.")


if __name__ == "__main__":
    typer.run(main)
