"""This server beside optillm and its_hub: what each adds to the same model's server.

    .venv/bin/python benchmarks/peers.py

All run at once, as processes on this machine, and are asked in turns, so that whatever else the
machine does falls on all of them. The peers are installed from PyPI when they are first needed, at
the versions in `benchmarks/pins/`, in environments below `--state` (optillm's has 5 GB).
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from peers_faults import late, left, refused, resident
from peers_load import Ask, Taken, load
from peers_servers import CAP, CONTESTANTS, Running, behave, running, upstream
from rich.console import Console

_HERE = Path(__file__).parent
_CONCURRENCIES = (1, 8, 64)

_out = Console(width=10_000, highlight=False, markup=False)
_err = Console(stderr=True)

Key = tuple[str, str, int, str]
"""What was asked, of whom, how many at a time, and whether these come `together` or `spread`."""


@dataclass(frozen=True)
class Size:
    """Attributes:
    rounds: turns that each server has.
    per_turn: requests of a turn, at concurrency 8.
    votes: that are asked for at once.
    in_flight: requests under way while memory is measured.
    """

    rounds: int
    per_turn: int
    votes: int
    in_flight: int


class Bench:
    """What is asked of whom, and what came of it."""

    def __init__(self, upstream: Running, servers: Sequence[Running], size: Size) -> None:
        self.upstream = upstream
        self.servers = servers
        self.taken: dict[Key, Taken] = {}
        self.facts: dict[str, dict[str, Any]] = {each.contestant.name: {} for each in servers}
        self._size = size

    async def run(self, *, delay_s: float) -> None:
        await behave(self.upstream, delay_s=0)
        for server in self.servers:
            await load(server.port, [server.contestant.passes] * 20, at_once=4)
        await behave(self.upstream, delay_s=delay_s)
        for at_once in _CONCURRENCIES:
            await self._in_turns(at_once)
            if at_once > 1:
                await self._in_turns(at_once, spread_s=delay_s)
        await self._votes()
        await self._facts(delay_s=delay_s)

    async def _in_turns(self, at_once: int, *, spread_s: float = 0.0) -> None:
        count = self._size.per_turn * max(8, at_once) // 8
        for turn in range(self._size.rounds):
            _err.print(f"{at_once} at once, round {turn + 1} of {self._size.rounds}")
            for server in self._ordered(turn, with_upstream=True):
                for what, request in _asked_of(server).items():
                    await self._load(
                        what, server, [request] * count, at_once=at_once, spread_s=spread_s
                    )

    async def _votes(self) -> None:
        for turn in range(min(self._size.rounds, 3)):
            _err.print(f"{self._size.votes} votes at once, round {turn + 1}")
            for server in self._ordered(turn, with_upstream=False):
                request = server.contestant.votes
                assert request is not None
                await self._load(
                    "vote", server, [request] * self._size.votes, at_once=self._size.votes
                )

    async def _facts(self, *, delay_s: float) -> None:
        for server in self.servers:
            facts, asks = self.facts[server.contestant.name], server.contestant
            _err.print(f"memory and faults of {asks.name}")
            facts["resident_mib"] = round(server.resident_mib(), 1)
            await behave(self.upstream, delay_s=max(1.0, delay_s))
            most = await resident(server, asks.refines or asks.passes, at_once=self._size.in_flight)
            facts["resident_mib_busy"] = round(most, 1)
            facts["client leaves"] = await left(server, self.upstream)
            facts["upstream says 429"] = await refused(server, self.upstream)
            facts["upstream hangs"] = await late(server, self.upstream)

    async def _load(
        self, what: str, server: Running, asks: list[Ask], *, at_once: int, spread_s: float = 0.0
    ) -> None:
        key = (what, server.contestant.name, at_once, "spread" if spread_s else "together")
        before = server.cpu_s()
        taken = await load(server.port, asks, at_once=at_once, spread_s=spread_s)
        taken.cpu_s = server.cpu_s() - before
        self.taken.setdefault(key, Taken()).add(taken)

    def _ordered(self, turn: int, *, with_upstream: bool) -> list[Running]:
        everyone = [self.upstream, *self.servers] if with_upstream else list(self.servers)
        first = turn % len(everyone)
        return everyone[first:] + everyone[:first]


def _asked_of(server: Running) -> dict[str, Ask]:
    asks = server.contestant
    asked = {"plain answer": asks.passes, "`cap`, nothing to refine": asks.greets,
             "`/v1/refine`, `single`": asks.refines}  # fmt: skip
    return {what: request for what, request in asked.items() if request is not None}


def _rows(bench: Bench) -> list[dict[str, Any]]:
    """One for each key, with what the server adds to the upstream's own time."""
    rows = []
    for (what, who, at_once, coming), taken in bench.taken.items():
        own = bench.taken.get(("plain answer", bench.upstream.contestant.name, at_once, coming))
        row: dict[str, Any] = {
            "asked": what,
            "server": who,
            "at_once": at_once,
            "coming": coming,
            "requests": len(taken.seconds),
            "failed": taken.failed,
            "p50_ms": taken.percentile(0.5) * 1000,
            "p99_ms": taken.percentile(0.99) * 1000,
            "per_s": taken.per_s,
            "cpu_ms": taken.cpu_s * 1000 / max(1, len(taken.seconds)),
        }
        if own is not None:
            row["added_p50_ms"] = row["p50_ms"] - own.percentile(0.5) * 1000
            row["added_p99_ms"] = row["p99_ms"] - own.percentile(0.99) * 1000
            row["share_of_upstream"] = taken.per_s / own.per_s
        rows.append(row)
    return rows


def _table(rows: list[dict[str, Any]], facts: dict[str, dict[str, Any]]) -> str:
    head = (
        "| asked | server | at once | coming | p50 ms | p99 ms | added p50 | added p99 "
        "| requests/s | of the upstream's | CPU ms | failed |"
    )
    lines = [head, "|" + " --- |" * 12]
    for row in sorted(
        rows, key=lambda row: (row["asked"], row["at_once"], row["coming"], row["server"])
    ):
        added = [f"{row[each]:.1f}" if each in row else "" for each in
                 ("added_p50_ms", "added_p99_ms")]  # fmt: skip
        per_s, cpu = f"{row['per_s']:.1f}", f"{row['cpu_ms']:.2f}"
        share = f"{row['share_of_upstream']:.1%}" if "share_of_upstream" in row else ""
        took = [f"{row[each]:.1f}" for each in ("p50_ms", "p99_ms")]
        cells = [row["asked"], row["server"], row["at_once"], row["coming"], *took, *added,
                 per_s, share, cpu, sum(row["failed"].values())]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    names = list(next(iter(facts.values())))
    lines += ["", "| server | " + " | ".join(names) + " |", "|" + " --- |" * (len(names) + 1)]
    lines += [
        f"| {who} | " + " | ".join(str(told[name]) for name in names) + " |"
        for who, told in facts.items()
    ]
    return "\n".join(lines)


async def _run(size: Size, *, delay_s: float, peers: bool, state: Path) -> Bench:
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(upstream(delay_s=delay_s))
        servers = [
            await stack.enter_async_context(running(each, of=model, state=state))
            for each in (CONTESTANTS if peers else (CAP,))
        ]
        bench = Bench(model, servers, size)
        await bench.run(delay_s=delay_s)
        return bench


def main(
    delay: Annotated[float, typer.Option(help="Seconds before the upstream answers.")] = 0.25,
    rounds: Annotated[int, typer.Option(help="Turns that every server has.")] = 5,
    per_turn: Annotated[int, typer.Option(help="Requests of a turn.")] = 40,
    votes: Annotated[int, typer.Option(help="Votes at once.")] = 32,
    in_flight: Annotated[int, typer.Option(help="Requests, for the memory.")] = 256,
    peers: Annotated[bool, typer.Option(help="Or this server alone.")] = True,
    state: Annotated[Path, typer.Option(help="For environments and logs.")] = _HERE.parent
    / ".state/peers",
    json_file: Annotated[Path | None, typer.Option("--json", help="Written too.")] = None,
) -> None:
    state.mkdir(parents=True, exist_ok=True)
    size = Size(rounds, per_turn, votes, in_flight)
    bench = uvloop.run(_run(size, delay_s=delay, peers=peers, state=state))
    rows = _rows(bench)
    _out.print(_table(rows, bench.facts))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    _out.print(f"\nThe upstream answers after {delay:g} s. {machine}.")
    if json_file is not None:
        told = {"delay_s": delay, "machine": machine, "rows": rows, "facts": bench.facts}
        json_file.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    typer.run(main)
