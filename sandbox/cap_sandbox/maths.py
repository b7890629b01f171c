"""What sympy, numpy and mpmath need beyond the standard library. Loaded in the heavy kind only."""

from __future__ import annotations

import mpmath
import numpy as np
import sympy
import sympy.core.random

from cap_sandbox.protocol import ValueType
from cap_sandbox.values import StandardLibrary, TooLargeError, digits, ratio

_FIRST_DUMMY = 1_000_000


class Maths(StandardLibrary):
    """The values of the three libraries, and the state that they start with."""

    code = (sympy.FunctionClass,)
    tuples = (sympy.Tuple,)
    sets = (sympy.FiniteSet,)

    def start(self) -> None:
        np.random.seed(0)
        sympy.core.random.seed(0)
        # Dummy symbols are told apart by number, and warming up has used some.
        sympy.Dummy._count = _FIRST_DUMMY

    def unpacked(self, value: object, max_members: int) -> object:
        if not isinstance(value, np.ndarray):
            return value
        if value.size > max_members:
            raise TooLargeError
        return value.tolist() if value.ndim else value.item()

    def leaf(self, value: object) -> tuple[ValueType, str] | None:
        if isinstance(value, np.generic):
            inner = value.item()
            return ("text", str(value)) if isinstance(inner, np.generic) else self.plain(inner)
        if isinstance(value, (mpmath.mpf, mpmath.mpc)):
            return _mpmath_number(value)
        if isinstance(value, sympy.Basic | sympy.MatrixBase):
            return _symbolic(value)
        return None

    def latex(self, value: object) -> str:
        return str(sympy.latex(value))

    def outline(self, value: object) -> str | None:
        return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else None


def _mpmath_number(value: mpmath.mpf | mpmath.mpc) -> tuple[ValueType, str]:
    if isinstance(value, mpmath.mpc):
        return "complex", str(value).strip("()").replace(" ", "")
    return "float", str(value).removeprefix("+")


def _symbolic(value: sympy.Basic | sympy.MatrixBase) -> tuple[ValueType, str]:
    if isinstance(value, sympy.Integer):
        return "int", digits(int(value))
    if isinstance(value, sympy.Rational):
        return ratio(int(value.p), int(value.q))
    if isinstance(value, sympy.logic.boolalg.BooleanAtom):
        return "bool", str(bool(value))
    special = {sympy.nan: "nan", sympy.oo: "inf", -sympy.oo: "-inf"}
    if isinstance(value, sympy.Number):
        return "float", special.get(value) or str(value)
    return "expression", sympy.sstr(value)
