"""What a server holds: descriptors, processes, memory; and whether that grows."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.processes import descendants

MORE_FILES = 12
"""Those to spare processes come and go."""

MORE_CONNECTIONS = 48
"""Kept ones come and go: a proxy's, and those to the upstream, four for each request."""

MORE_PROCESSES = 4
"""Spare processes come and go, two kinds of them, as many as programs run at once."""

MORE_MIB = 64
"""What a Python process keeps of its busiest moment; a leak of 20 kB a request shows in 3,600."""

_SETTLED_S = 45.0


@dataclass(frozen=True)
class Held:
    """Attributes: files: open descriptors but for `connections`, which are those of TCP."""

    files: int
    connections: int
    processes: int
    mib: float

    def beyond(self, before: Held) -> list[str]:
        """What is more than it may be, in words."""
        bounds = (
            ("descriptors", before.files, self.files, MORE_FILES),
            ("connections", before.connections, self.connections, MORE_CONNECTIONS),
            ("processes", before.processes, self.processes, MORE_PROCESSES),
            ("MiB", round(before.mib), round(self.mib), MORE_MIB),
        )
        return [
            f"{now} {what}, {was} before" for what, was, now, more in bounds if now > was + more
        ]


def held(pid: int) -> Held:
    """By the process, and by all that it started."""
    family = descendants(pid)
    status = Path(f"/proc/{pid}/status").read_text()
    kib = int(status.partition("VmRSS:")[2].split()[0])
    tcp, open_ = _tcp(pid), _open(pid)
    connections = sum(each in tcp for each in open_)
    return Held(len(open_) - connections, connections, len(family), kib / 1024)


async def leaked(pid: int, before: Held) -> list[str]:
    """What the process still holds more than before, once it had time to let go."""
    deadline = time.monotonic() + _SETTLED_S
    while (found := held(pid).beyond(before)) and time.monotonic() < deadline:  # noqa: ASYNC110  # unannounced
        await asyncio.sleep(0.5)
    return found


def _open(pid: int) -> list[str]:
    """What each of its descriptors points to."""
    found = list[str]()
    for each in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"/proc/{pid}/fd/{each}"))
    return found


def _tcp(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return {f"socket:[{line.split()[9]}]" for line in lines}
