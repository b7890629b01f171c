"""`make chaos`: real servers under load, and everything that can go wrong does."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tests import leaks
from tests.chaos import engine, remains, report
from tests.chaos.faults import FAULTS, Fault, faketime
from tests.chaos.load import Load, Tally, Terms
from tests.chaos.place import Place, place

_PAGE = Path(__file__).parents[2] / "docs" / "chaos.md"
_SOAK = "soak"

Say = Callable[[str], None]


async def under(fault: Fault, at: Place, load: Load, *, for_s: float) -> Tally:
    """What became of the load while `fault` did its harm, and what was left of it after."""
    # Kept connections and spare processes are as many as they become.
    await Load(at.url, at_once=12, pause_s=0.0).send(30, Terms())
    before = {replica.pid: leaks.held(replica.pid) for replica in at.replicas}
    faults = remains.tracebacks(at)
    async with load.running(fault.terms) as tally:
        await fault.harm(at, for_s)
        await asyncio.sleep(for_s / 5)
    for replica in at.replicas if fault.same else ():
        if replica.pid not in before:
            tally.violated("a server was started anew, and nobody asked for it")
            continue
        tally.violated(*await leaks.leaked(replica.pid, before[replica.pid]))
    tally.violated(*await remains.left_behind(at))
    if told := remains.tracebacks(at) - faults:
        tally.violated(f"{told} tracebacks in the servers' logs")
    return tally


async def soak(at: Place, load: Load, requests: int) -> Tally:
    """An hour's requests as fast as they are answered; then everything is as before."""
    before = {replica.pid: leaks.held(replica.pid) for replica in at.replicas}
    tally = await load.send(requests, Terms())
    for replica in at.replicas:
        now = leaks.held(replica.pid)
        tally.violated(*await leaks.leaked(replica.pid, before[replica.pid]))
        was = before[replica.pid]
        tally.by[f"MiB (from {was.mib:.0f})"] = round(now.mib)
    return tally


async def run(
    folder: Path, faults: Sequence[Fault], *, for_s: float, requests: int, say: Say
) -> tuple[dict[str, Tally], dict[str, str]]:
    """What became of the load under each fault, and the faults that cannot be had here."""
    tallies: dict[str, Tally] = {}
    async with place(folder) as at:
        if faketime() is None:
            at.cannot["clock moved"] = "no libfaketime here (Debian: faketime)"
        load = Load(at.url, at_once=6)
        await load.send(40, Terms())  # caches fill, lazy imports are done
        for fault in faults:
            if fault.name not in at.cannot:
                tallies[fault.name] = await under(fault, at, load, for_s=for_s)
                _tell(fault.name, tallies[fault.name], say)
        if requests:
            eager = Load(at.url, at_once=12, pause_s=0.0)
            await eager.send(requests // 6, Terms())
            tallies[_SOAK] = await soak(at, eager, requests)
            _tell(_SOAK, tallies[_SOAK], say)
        return tallies, at.cannot


def _tell(name: str, tally: Tally, say: Say) -> None:
    say(f"{name}: {tally.sent} requests in {tally.seconds:.0f} s, {len(tally.wrong)} violations")
    for each in tally.wrong[:5]:
        say(f"  {each}")


def main(
    for_s: Annotated[float, typer.Option("--seconds", help="Of each fault.")] = 12.0,
    requests: Annotated[int, typer.Option(help="Of the soak; 0: none.")] = 3600,
    only: Annotated[str, typer.Option(help="Only faults with this in their names.")] = "",
    vllm: Annotated[bool, typer.Option(help="The part with the real vLLM too.")] = True,
    write: Annotated[bool, typer.Option(help="Write the table to docs/chaos.md.")] = False,
) -> None:
    """Inject all faults, print the table, and fail where anything was violated."""
    began = time.monotonic()

    def say(text: str) -> None:
        typer.echo(f"{time.monotonic() - began:5.0f} s  {text}", err=True)

    faults = [each for each in FAULTS if only in each.name]
    with tempfile.TemporaryDirectory(prefix="cap-chaos-") as folder:
        tallies, cannot = asyncio.run(
            run(Path(folder), faults, for_s=for_s, requests=requests, say=say)
        )
        if vllm:
            found, cannot_ = asyncio.run(engine.run(Path(folder) / "engine", for_s=for_s))
            for name, tally in found.items():
                _tell(name, tally, say)
            tallies, cannot = tallies | found, cannot | cannot_
    lines = [report.table(tallies, cannot), "", report.machine(time.monotonic() - began)]
    typer.echo("\n".join(lines))
    if write:
        report.write(_PAGE, lines)
    if any(tally.wrong for tally in tallies.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
