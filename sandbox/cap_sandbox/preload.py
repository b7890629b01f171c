"""Imports what programs may need, because nothing can be imported once the jail is shut."""

from __future__ import annotations

import ctypes
import gc
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sympy

from cap_sandbox import modules
from cap_sandbox.modules import Members
from cap_sandbox.program import Runner

_HUGE_PAGE = 2 * 1024**2
_MADV_COLLAPSE = 25

# Tests, plots, code generators and shims that only warn: programs can use none of them.
_SKIPPED = (
    ".tests", ".benchmarks", ".testing", ".plotting", ".autolev", ".latex", ".galgebra",
    ".conftest", ".interactive", ".this", "isympy", ".compatibility", ".trace",
    "utilities.pytest", "utilities.randtest", "utilities.runtests", "utilities.tmpfiles",
    ".codegen", ".physics.quantum", ".physics.mechanics", ".physics.continuum_mechanics",
    ".physics.control", ".physics.biomechanics", ".physics.optics", ".physics.hep",
    "utilities._compilation", ".fortran", ".c.", ".sym_expr",
)  # fmt: skip

# What the standard library and numpy import only when first used.
_LAZY = (
    "_strptime", "encodings.idna", "encodings.latin_1", "encodings.unicode_escape", "locale",
    "numpy.linalg", "numpy.fft", "numpy.polynomial", "numpy.random", "numpy.ma", "numpy.ma.extras",
    "numpy.char", "numpy.rec", "numpy.strings", "numpy.lib.stride_tricks", "decimal", "_decimal",
    "traceback", "linecache", "tokenize", "unicodedata", "queue", "zoneinfo",
)  # fmt: skip


FIRST_PROGRAM = """
import math
def solution():
    total = sum(i * 2 for i in range(3)) / 2
    print(f"{total:.1f}", "{}".format(total))
    return math.sqrt(total)
answer = solution()
"""
"""What every program needs a part of."""

_SYMPY_PROGRAMS = (
    "from sympy import symbols\nx = symbols('x')\nanswer = (x + {n})**2",
    "from sympy import Rational, sqrt\nanswer = [sqrt(8 * {n}) + Rational(1, {n})]",
    "from sympy import symbols, Eq, solve\nx = symbols('x')\nanswer = solve(Eq(x + 2, {n}), x)",
    "from sympy import symbols, solve\nx = symbols('x')\nanswer = solve(x**2 - {n}, x)",
    "from sympy import symbols, solve\nx = symbols('x')\nanswer = solve(x**2 - x - {n}*({n}-1))",
    "from sympy import symbols, Eq, solve\nx, y = symbols('x y')\n"
    "answer = solve([Eq(x + y, {n}), Eq(x - y, 1)], [x, y])",
    "from sympy import symbols, factor, simplify, expand\nx, y = symbols('x y')\n"
    "answer = simplify(factor(expand((x + {n}*y)**2)) / (x + {n}*y))",
)
# sympy remembers what it computed; other numbers make it compute, and touch its pages, again.
_IN_ZYGOTE = tuple(program.replace("{n}", "3") for program in _SYMPY_PROGRAMS)
FURTHER_PROGRAMS = tuple(program.replace("{n}", "5") for program in _SYMPY_PROGRAMS)
"""What programs with sympy need, in pieces of a few milliseconds."""

_LAST_PROGRAM = """
from decimal import Decimal
from fractions import Fraction
from datetime import datetime
import mpmath
import numpy as np
import sympy as sp
x, y = sp.symbols("x y")
sp.solve([x + y - 3, x - y - 1], [x, y])
sp.integrate(sp.sin(x) * x, x)
sp.diff(sp.exp(x), x)
sp.limit(sp.sin(x) / x, x, 0)
sp.N(sp.sqrt(2) + sp.pi)
sp.factorint(360)
sp.solveset(x**2 - 4, x)
np.linalg.solve(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0]))
str(mpmath.mpf(1) / 3)
for library in ("numpy", "math", "mpmath", "sympy"):
    sp.lambdify(x, sp.sin(x) + x**2, library)(1)
datetime.strptime("2024-01-02", "%Y-%m-%d").strftime("%A")
answer = [Decimal("0.1"), Fraction(1, 3), sp.Matrix([[1, 2], [3, 4]]).det()]
"""


def everything() -> Members:
    """Import all that programs may use, and return what of it is in reach."""
    for name in (*_LAZY, *sorted(modules.ALLOWED), *_sympy_modules()):
        importlib.import_module(name)
    return Members(np.ndarray, np.random.BitGenerator)


def _sympy_modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(sympy.__path__, "sympy.", onerror=lambda name: None):
        if not any(part in module.name for part in _SKIPPED):
            yield module.name


def settle(runner: Runner) -> None:
    """Do once what is built on first use, and lay memory out so that forks are cheap."""
    for program in (FIRST_PROGRAM, *_IN_ZYGOTE, _LAST_PROGRAM):
        report = runner.run(program, output_bytes=64, on_memory_error=lambda: None)
        if report.status != "ok":
            raise RuntimeError(f"a program of our own failed: {report.stderr}")
    gc.collect()
    # Collections would write to every object, and so copy every page, in every child.
    gc.disable()
    gc.freeze()
    _merge_pages()


def _merge_pages() -> None:
    """Ask for huge pages: a fork copies the table of pages, and it gets much shorter.

    Kernels before 6.1, and those with huge pages switched off, refuse; nothing depends on it.
    """
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for start, end in _private_ranges():
        first = -(-start // _HUGE_PAGE) * _HUGE_PAGE
        for address in range(first, end - _HUGE_PAGE + 1, _HUGE_PAGE):
            madvise(address, _HUGE_PAGE, _MADV_COLLAPSE)


def _private_ranges() -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_text(encoding="ascii", errors="replace").splitlines():
        addresses, rights, *rest = line.split()
        if "w" in rights and (len(rest) < 4 or rest[3] == "[heap]"):
            start, _, end = addresses.partition("-")
            yield int(start, 16), int(end, 16)
