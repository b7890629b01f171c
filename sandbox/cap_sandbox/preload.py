"""Imports what programs may need, because nothing can be imported once the jail is shut."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterable
from functools import partial

from cap_sandbox import immortal, modules, pages
from cap_sandbox.kinds import Kind
from cap_sandbox.modules import Members
from cap_sandbox.pages import Run
from cap_sandbox.program import Runner
from cap_sandbox.protocol import NOTHING_SPENT, encode_report, pack
from cap_sandbox.values import StandardLibrary

# What the standard library imports only when first used.
_LAZY = (
    "_strptime", "encodings.idna", "encodings.latin_1", "encodings.unicode_escape", "locale",
    "decimal", "_decimal", "traceback", "linecache", "tokenize", "unicodedata", "queue", "zoneinfo",
)  # fmt: skip

# As many new objects as there may be before a collection: some megabytes. With Python's own number
# of 700 it looks for garbage ten times while sympy solves one equation, and finds none.
_YOUNG_OBJECTS = 20_000

FIRST_PROGRAM = """
import math
def solution():
    total = sum(i * 2 for i in range(3)) / 2
    print(f"{total:.1f}", "{}".format(total))
    return math.sqrt(total)
answer = solution()
"""
"""What every program needs a part of."""

_STANDARD_PROGRAM = """
from decimal import Decimal
from fractions import Fraction
from datetime import datetime
datetime.strptime("2024-01-02", "%Y-%m-%d").strftime("%A")
answer = [Decimal("0.1"), Fraction(1, 3)]
"""


def warm_runner(kind: Kind, *, policy: bool) -> Runner:
    """Import all that programs of a kind may use, use it once, and return what runs them.

    Args:
        kind: that of this process, for ever.
        policy: whether programs are checked.
    """
    for name in (*_LAZY, *sorted(modules.allowed(kind))):
        importlib.import_module(name)
    programs: tuple[str, ...] = (FIRST_PROGRAM, _STANDARD_PROGRAM)
    if kind == "light":
        runner = Runner(Members(kind), policy=policy, library=StandardLibrary())
    else:
        # Not above: it imports the libraries.
        from cap_sandbox import preload_maths

        runner = Runner(preload_maths.members(), policy=policy, library=preload_maths.Maths())
        programs += preload_maths.PROGRAMS
    _use(runner, programs)
    return runner


def settle(runner: Runner, kind: Kind) -> list[Run]:
    """Lay memory out so that forks are cheap, and return the pages that programs write to.

    The last thing before the jail.
    """
    gc.collect()
    # Collections would write to every object, and so copy every page, in every child.
    gc.disable()
    freeze()
    written = pages.written_by([partial(_use, runner, trial) for trial in _trials(kind)])
    # Last: what is written to while a child shares it falls apart into small pages again.
    pages.merge()
    return written


def freeze() -> None:
    """Keep collections, and the counting of references, away from what there is by now."""
    immortal.keep()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def _trials(kind: Kind) -> list[tuple[str, ...]]:
    if kind == "light":
        return [(FIRST_PROGRAM,), (FIRST_PROGRAM, _STANDARD_PROGRAM)]
    from cap_sandbox import preload_maths

    return [(trial,) for trial in preload_maths.TRIALS]


def _use(runner: Runner, programs: Iterable[str]) -> None:
    for program in programs:
        report = runner.run(program, output_bytes=64, on_memory_error=lambda: None)
        if report.status != "ok":
            raise RuntimeError(f"a program of our own failed: {report.stderr}")
        pack(encode_report(report, NOTHING_SPENT))
