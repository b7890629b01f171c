"""What the kernel knows about processes: who started whom, and who still lives."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path


def alive(pids: Iterable[int], *, within_s: float = 0.0) -> set[int]:
    """Which of `pids` still run, at the latest `within_s` from now; zombies do not."""
    left, deadline = set(pids), time.monotonic() + within_s
    while left := {pid for pid in left if _state_and_parent(pid)[0] not in ("", "Z", "X")}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def children(pid: int) -> set[int]:
    """Those that `pid` itself started and that have not been waited for."""
    everyone = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return {each for each in everyone if parent(each) == pid}


def descendants(pid: int) -> set[int]:
    """Children, their children, and so on."""
    everyone = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    parents = {each: parent(each) for each in everyone}
    found, generation = set[int](), {pid}
    while generation := {each for each, above in parents.items() if above in generation}:
        found |= generation
    return found


def parent(pid: int) -> int:
    """Who started `pid`; 0 when it has ended."""
    return _state_and_parent(pid)[1]


def _state_and_parent(pid: int) -> tuple[str, int]:
    try:
        state, above = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return "", 0
    return state, int(above)
