"""What the heavy kind of process imports and does beforehand. Imports sympy, numpy and mpmath."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator

import numpy as np
import sympy

from cap_sandbox.maths import Maths
from cap_sandbox.modules import Members

__all__ = ["PROGRAMS", "TRIALS", "Maths", "members"]

# Tests, plots, code generators and shims that only warn: programs can use none of them.
_SKIPPED = (
    ".tests", ".benchmarks", ".testing", ".plotting", ".autolev", ".latex", ".galgebra",
    ".conftest", ".interactive", ".this", "isympy", ".compatibility", ".trace",
    "utilities.pytest", "utilities.randtest", "utilities.runtests", "utilities.tmpfiles",
    ".codegen", ".physics.quantum", ".physics.mechanics", ".physics.continuum_mechanics",
    ".physics.control", ".physics.biomechanics", ".physics.optics", ".physics.hep",
    "utilities._compilation", ".fortran", ".c.", ".sym_expr",
)  # fmt: skip

# What sympy takes where it finds it, and programs cannot use.
_ABSENT = ("IPython", "matplotlib", "pytest", "scipy")

# What numpy imports only when first used.
_LAZY = (
    "numpy.linalg", "numpy.fft", "numpy.polynomial", "numpy.random", "numpy.ma", "numpy.ma.extras",
    "numpy.char", "numpy.rec", "numpy.strings", "numpy.lib.stride_tricks",
)  # fmt: skip

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
_ODD_PROGRAM = """
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
answer = sp.Matrix([[1, 2], [3, 4]]).det()
"""


def _sympy_programs(n: int) -> tuple[str, ...]:
    return tuple(program.replace("{n}", str(n)) for program in _SYMPY_PROGRAMS)


# The common ones again, after the odd one: while a function runs for the first few times, Python
# from 3.13 on rewrites its code for what it meets, and a child would copy these pages.
PROGRAMS = (*_sympy_programs(3), _ODD_PROGRAM, *_sympy_programs(7), *_sympy_programs(11))
"""What builds most of what the libraries build on first use."""

# sympy remembers what it computed; other numbers make it compute, and write to memory, again.
TRIALS = _sympy_programs(5)
"""What programs with sympy need a part of."""


def members() -> Members:
    """Import all of the libraries that programs may use, and return what of it is in reach."""
    for name in _ABSENT:
        # As if it were not installed.
        sys.modules[name] = None  # type: ignore[assignment]
    for name in (*_LAZY, *_submodules(sympy.__path__, "sympy.")):
        importlib.import_module(name)
    return Members("heavy", np.ndarray, np.random.BitGenerator)


def _submodules(path: Iterable[str], prefix: str) -> Iterator[str]:
    for module in pkgutil.iter_modules(path, prefix):
        if any(part in module.name for part in _SKIPPED):
            continue
        yield module.name
        if module.ispkg:
            package = importlib.import_module(module.name)
            yield from _submodules(package.__path__, f"{module.name}.")
