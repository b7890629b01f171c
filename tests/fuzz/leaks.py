"""What a server holds: descriptors, processes, memory; and whether that grows."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tests.processes import descendants

MORE_FILES = 12
"""Kept connections come and go: the upstream's, and those to spare processes."""

MORE_PROCESSES = 4
"""Spare processes come and go, two kinds of them, as many as programs run at once."""

MORE_MIB = 64
"""What a Python process keeps of its busiest moment; a leak of 4 kB a case shows in 20,000."""

_SETTLED_S = 45.0


@dataclass(frozen=True)
class Held:
    """By a process; `processes` are all that it started, and theirs."""

    files: int
    processes: int
    mib: float

    @classmethod
    def by(cls, pid: int) -> Held:
        status = Path(f"/proc/{pid}/status").read_text()
        kib = int(status.partition("VmRSS:")[2].split()[0])
        return cls(len(os.listdir(f"/proc/{pid}/fd")), len(descendants(pid)), kib / 1024)

    def beyond(self, before: Held) -> list[str]:
        """What is more than it may be, in words."""
        bounds = (
            ("descriptors", before.files, self.files, MORE_FILES),
            ("processes", before.processes, self.processes, MORE_PROCESSES),
            ("MiB", round(before.mib), round(self.mib), MORE_MIB),
        )
        return [
            f"{now} {what}, {was} before" for what, was, now, more in bounds if now > was + more
        ]


def leaked(pid: int, before: Held) -> list[str]:
    """What the process still holds more than before, once it had time to let go."""
    deadline = time.monotonic() + _SETTLED_S
    while (found := Held.by(pid).beyond(before)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found
