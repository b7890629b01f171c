"""The benchmark of the sandbox runs, in miniature, as its users run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/sandbox.py"
WAYS = {
    ("this sandbox", "1, with pauses"),
    ("this sandbox", "1"),
    ("this sandbox", "2"),
    ("a fresh Python process", "1"),
    ("fork and wait, light", "1"),
    ("fork and wait, heavy", "1"),
}


@pytest.mark.timeout(300)
def test_every_way_runs_both_kinds_of_programs() -> None:
    sizes = ["--programs", "4", "--rounds", "2", "--workers", "1", "--no-peers"]
    command = [sys.executable, str(SCRIPT), *sizes]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    rows = [line.strip("| ").split(" | ") for line in printed.stdout.splitlines() if "|" in line]
    for kind in ("arithmetic", "sympy"):
        head = next(n for n, row in enumerate(rows) if row[0] == kind)
        table = rows[head + 2 : head + 2 + len(WAYS)]
        assert {(row[0], row[1]) for row in table} == WAYS
        assert all(float(number) >= 0 for row in table for number in filter(None, row[2:]))
    assert "alone: light" in printed.stdout
    assert "workers, tier" in printed.stdout
