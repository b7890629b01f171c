"""Imports what programs may need, because nothing can be imported once the jail is shut."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import mpmath
import numpy as np
import sympy

from cap_sandbox import modules
from cap_sandbox.modules import Members

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


def everything() -> Members:
    """Import all that programs may use, and return what of it is in reach."""
    for name in (*_LAZY, *sorted(modules.ALLOWED), *_sympy_modules()):
        importlib.import_module(name)
    _exercise()
    return Members(np.ndarray)


def _sympy_modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(sympy.__path__, "sympy.", onerror=lambda name: None):
        if not any(part in module.name for part in _SKIPPED):
            yield module.name


def _exercise() -> None:
    """Do a little of each, so that what is built on first use is built before the forks."""
    x = sympy.Symbol("x")
    sympy.latex(sympy.solve(x**2 - 2, x))
    sympy.sstr(sympy.integrate(sympy.sin(x) * x, x) + sympy.Rational(1, 3))
    sympy.N(sympy.sqrt(2) + sympy.pi)
    np.linalg.solve(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0]))
    str(mpmath.mpf(1) / 3)
