"""The faults: each a coroutine that does harm while it runs, and has mended it when it returns."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.load import Terms
from tests.chaos.place import Place, until_it_answers
from tests.chaos.questions import BOMBS, KINDS

Harm = Callable[[Place, float], Awaitable[None]]
"""Given where, and for how many seconds."""


@dataclass(frozen=True)
class Fault:
    """Attributes: terms: what the load is, and what may come of it; same: whether the servers'
    processes are the same ones afterwards, so that they can be looked at for leaks.
    """

    name: str
    harm: Harm
    terms: Terms = field(default_factory=Terms)
    same: bool = True


async def nothing(place: Place, for_s: float) -> None:
    await asyncio.sleep(for_s)


async def kill_warm(place: Place, for_s: float) -> None:
    await _again_and_again(lambda: _strike(_warm(place), signal.SIGKILL), for_s, every_s=1.5)


async def kill_spares(place: Place, for_s: float) -> None:
    await _again_and_again(lambda: _strike(_spares(place), signal.SIGKILL), for_s, every_s=0.4)


async def pause_warm(place: Place, for_s: float) -> None:
    await _paused(lambda: _warm(place), for_s)


async def pause_spares(place: Place, for_s: float) -> None:
    await _paused(lambda: _spares(place), for_s)


async def pause_server(place: Place, for_s: float) -> None:
    await _paused(lambda: [replica.pid for replica in place.replicas], for_s)


async def kill_servers(place: Place, for_s: float) -> None:
    await _restarted(place, for_s, signal.SIGKILL)


async def end_servers(place: Place, for_s: float) -> None:
    await _restarted(place, for_s, signal.SIGTERM)


async def kill_upstream(place: Place, for_s: float) -> None:
    for _ in range(2):
        place.upstream.kill()
        place.upstream.wait()
        await asyncio.sleep(for_s / 4)
        place.start_upstream()
        await asyncio.sleep(for_s / 4)


async def pause_upstream(place: Place, for_s: float) -> None:
    await _paused(lambda: [place.upstream.pid], for_s)


async def slow_network(place: Place, for_s: float) -> None:
    place.proxy.delay_s = 0.1
    await asyncio.sleep(for_s)
    place.proxy.delay_s = 0.0


async def breaking_network(place: Place, for_s: float) -> None:
    place.proxy.breaks = 0.15
    await asyncio.sleep(for_s)
    place.proxy.breaks = 0.0


async def losing_network(place: Place, for_s: float) -> None:
    place.link.drop(0.15)
    await asyncio.sleep(for_s)
    place.link.drop(0)


async def full_disk(place: Place, for_s: float) -> None:
    """The disk has database and logs on it."""
    filler = place.replicas[0].folder.parent / "filler"
    await asyncio.sleep(for_s / 4)
    await asyncio.to_thread(fill, filler)
    await asyncio.sleep(for_s / 2)
    filler.unlink()
    await asyncio.sleep(for_s / 4)


async def moved_clock(place: Place, for_s: float) -> None:
    """One server's wall clock, by libfaketime: a day ahead, then two days back."""
    library, replica = faketime(), place.replicas[0]
    assert library is not None
    offset = place.folder / "offset"
    offset.write_text("+0")
    await replica.end(signal.SIGTERM)
    await replica.start(
        LD_PRELOAD=str(library),
        FAKETIME_TIMESTAMP_FILE=str(offset),
        FAKETIME_NO_CACHE="1",
        DONT_FAKE_MONOTONIC="1",
    )
    for moved in ("+1d", "-1d", "+0"):
        offset.write_text(moved)
        await asyncio.sleep(for_s / 3)
    await replica.end(signal.SIGTERM)
    await replica.start()


def faketime() -> Path | None:
    """Where libfaketime is, if it is here."""
    return next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


_BROKEN = Terms(broken=True)

FAULTS = (
    Fault("nothing", nothing, Terms(exact=True)),
    Fault("warm processes killed", kill_warm),
    Fault("warm processes paused", pause_warm),
    Fault("spare processes killed", kill_spares),
    Fault("spare processes paused", pause_spares),
    Fault("server killed", kill_servers, _BROKEN, same=False),
    Fault("server ended", end_servers, same=False),
    Fault("server paused", pause_server),
    Fault("upstream killed", kill_upstream),
    Fault("upstream paused", pause_upstream),
    Fault("packets delayed", slow_network),
    Fault("connections broken", breaking_network),
    Fault("packets dropped", losing_network),
    Fault("memory filled", nothing, Terms(kinds=(*KINDS, *BOMBS))),
    Fault("disk full", full_disk),
    Fault("clock moved", moved_clock, same=False),
)


async def _restarted(place: Place, for_s: float, number: signal.Signals) -> None:
    """One after the other, so that one is always there."""
    for replica in place.replicas:
        await asyncio.sleep(for_s / 4)
        await replica.end(number)
        await asyncio.sleep(for_s / 8)
        await replica.start()
        await until_it_answers(f"{replica.running.url}/ready")


async def _paused(pids: Callable[[], Iterable[int]], for_s: float) -> None:
    """Three times, with as much time in between."""
    for _ in range(3):
        await asyncio.sleep(for_s / 6)
        await hold(list(pids()), for_s / 6)


async def hold(pids: list[int], for_s: float) -> None:
    """Stop processes, and let them go on."""
    send(pids, signal.SIGSTOP)
    try:
        await asyncio.sleep(for_s)
    finally:
        send(pids, signal.SIGCONT)


async def _again_and_again(strike: Callable[[], None], for_s: float, *, every_s: float) -> None:
    for _ in range(round(for_s / every_s)):
        strike()
        await asyncio.sleep(every_s)


def _strike(pids: list[int], number: signal.Signals) -> None:
    if pids:
        send([random.choice(pids)], number)


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """A signal to each that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _warm(place: Place) -> list[int]:
    return [each for replica in place.replicas for each in replica.warm()]


def _spares(place: Place) -> list[int]:
    return [each for replica in place.replicas for each in replica.spares()]


def fill(filler: Path) -> None:
    """Write until the disk is full."""
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
