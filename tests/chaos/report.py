"""The table: what was injected, and what became of the requests."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.chaos.load import Tally

_BEGIN, _END = "<!-- last run: begin -->", "<!-- last run: end -->"
_HEAD = ("fault", "requests", "answered", "of these", "violations")


def table(tallies: Mapping[str, Tally], cannot: Mapping[str, str]) -> str:
    rows = [_HEAD, ("---",) * len(_HEAD)]
    for name, tally in tallies.items():
        by = ", ".join(f"{count} {what}" for what, count in sorted(tally.by.items()))
        rows.append((name, str(tally.sent), str(tally.answered), by, str(len(tally.wrong))))
    rows += [(name, "–", "–", f"not here: {why}", "–") for name, why in cannot.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def machine(seconds: float) -> str:
    cores = len(os.sched_getaffinity(0))
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return (
        f"{day}: {seconds / 60:.1f} minutes on {cores} cores ({platform.machine()}, Linux "
        f"{platform.release().split('-')[0]}, Python {platform.python_version()})."
    )


def write(page: Path, lines: Sequence[str]) -> None:
    """Put `lines` between the page's markers."""
    before, begin, rest = page.read_text("utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{page} has no markers for the last run")
    page.write_text("\n".join([before + begin, "", *lines, "", end + after]), "utf-8")
