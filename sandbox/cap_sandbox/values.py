"""Turns what a program left into a `Value`. Runs inside the program's process."""

from __future__ import annotations

import itertools
import types
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import cast

import mpmath
import numpy as np
import sympy

from cap_sandbox.names import as_written
from cap_sandbox.protocol import MAX_TEXT, MAX_VALUE_DEPTH, MAX_VALUE_NODES, Value, ValueType

_CLIPPED = 1_000
# The one-shot iterators that programs leave where they mean the list of their members.
_LAZY = (
    map, filter, zip, enumerate, reversed, types.GeneratorType, itertools.chain,
    itertools.combinations, itertools.permutations, itertools.product, itertools.islice,
)  # fmt: skip
_VIEWS = (KeysView, ValuesView, ItemsView)
_SEQUENCES = (list, tuple, set, frozenset, range, *_VIEWS, sympy.Tuple, sympy.FiniteSet)


class _TooLargeError(Exception):
    """The value does not fit the caps of the protocol."""


def is_answer(value: object) -> bool:
    """Whether a program can mean `value` as its answer: not None, and nothing that is only code."""
    code = (type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType)
    return value is not None and not isinstance(value, (*code, sympy.FunctionClass))


def to_value(value: object) -> Value:
    """Return `value` as the protocol carries it.

    A container of more than 2,000 values, deeper than 16, or of more than 128 Ki characters, and an
    integer of more digits than that, become a `text` that shows their beginning.
    """
    try:
        return _Converter().convert(value)
    except _TooLargeError:
        return Value("text", _clipped(value))


class _Converter:
    """Converts one value and counts what it has taken so far."""

    def __init__(self) -> None:
        self._nodes = 0
        self._characters = 0

    def convert(self, value: object, depth: int = 0) -> Value:
        self._nodes += 1
        if self._nodes > MAX_VALUE_NODES or depth > MAX_VALUE_DEPTH:
            raise _TooLargeError
        if isinstance(value, Mapping):
            return self._dict(value, depth)
        if isinstance(value, np.ndarray):
            return self._array(value, depth)
        if isinstance(value, (*_SEQUENCES, *_LAZY)):
            return self._list(cast("Iterable[object]", value), depth)
        return self._leaf(value)

    def _leaf(self, value: object) -> Value:
        kind, text = _plain(value)
        text = as_written(text)
        latex = as_written(sympy.latex(value)) if kind == "expression" else None
        self._count(text + (latex or ""))
        return Value(kind, text, latex=latex)

    def _array(self, value: np.ndarray, depth: int) -> Value:
        if value.size > MAX_VALUE_NODES:
            raise _TooLargeError
        return self.convert(value.tolist() if value.ndim else value.item(), depth)

    def _list(self, members: Iterable[object], depth: int) -> Value:
        taken = list(itertools.islice(_ordered(members), MAX_VALUE_NODES + 1))
        items = tuple(self.convert(member, depth + 1) for member in taken)
        opening, closing = _brackets(members)
        comma = "," if opening == "(" and len(items) == 1 else ""
        shown = ", ".join(map(_shown, taken, items))
        text = f"{opening}{shown}{comma}{closing}"
        self._count(text)
        return Value("list", text, items=items)

    def _dict(self, mapping: Mapping[object, object], depth: int) -> Value:
        taken = list(itertools.islice(mapping.items(), MAX_VALUE_NODES + 1))
        keys = tuple(self.convert(key, depth + 1) for key, _ in taken)
        members = tuple(self.convert(member, depth + 1) for _, member in taken)
        entries = tuple(zip(keys, members, strict=True))
        pairs = ", ".join(
            f"{_shown(key, shown_key)}: {_shown(member, shown_member)}"
            for (key, member), (shown_key, shown_member) in zip(taken, entries, strict=True)
        )
        self._count(pairs)
        return Value("dict", f"{{{pairs}}}", entries=entries)

    def _count(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > MAX_TEXT:
            raise _TooLargeError


def _ordered(members: Iterable[object]) -> Iterator[object]:
    """Iterate; sets in an order that does not depend on hashes."""
    if isinstance(members, (set, frozenset)):
        try:
            return iter(sorted(cast("Iterable[int]", members)))
        except (TypeError, ValueError):
            return iter(sorted(members, key=repr))
    return iter(members)


def _brackets(members: object) -> tuple[str, str]:
    if isinstance(members, (tuple, sympy.Tuple)):
        return "(", ")"
    if isinstance(members, (set, frozenset, sympy.FiniteSet)) and members:
        return "{", "}"
    return "[", "]"


def _shown(member: object, value: Value) -> str:
    """Return how a container shows a member."""
    return repr(value.text) if isinstance(member, (str, date)) else value.text


def _plain(value: object) -> tuple[ValueType, str]:
    """Return type and text of anything that is no container."""
    if value is None:
        return "none", "None"
    if isinstance(value, np.generic):
        return _plain(value.item()) if not isinstance(value.item(), np.generic) else _text(value)
    if isinstance(value, (bool, int, float, complex, Fraction, Decimal)):
        return _number(value)
    if isinstance(value, (mpmath.mpf, mpmath.mpc)):
        return _mpmath_number(value)
    if isinstance(value, sympy.Basic | sympy.MatrixBase):
        return _symbolic(value)
    if isinstance(value, date):
        return "date", value.isoformat()
    return _text(value)


def _number(value: bool | int | float | complex | Fraction | Decimal) -> tuple[ValueType, str]:
    # `int.__repr__` and its like: a subclass (an enumeration, a program's own) may say anything.
    if isinstance(value, bool):
        return "bool", repr(value)
    if isinstance(value, int):
        return "int", _digits(value)
    if isinstance(value, float):
        return "float", float.__repr__(value)
    if isinstance(value, complex):
        return "complex", complex.__repr__(value).strip("()")
    if isinstance(value, Fraction):
        return _ratio(value.numerator, value.denominator)
    return "decimal", Decimal.__str__(value)


def _ratio(numerator: int, denominator: int) -> tuple[ValueType, str]:
    if denominator == 1:
        return "fraction", _digits(numerator)
    return "fraction", f"{_digits(numerator)}/{_digits(denominator)}"


def _digits(value: int) -> str:
    try:
        return int.__repr__(value)
    except ValueError:
        raise _TooLargeError from None


def _mpmath_number(value: mpmath.mpf | mpmath.mpc) -> tuple[ValueType, str]:
    if isinstance(value, mpmath.mpc):
        return "complex", str(value).strip("()").replace(" ", "")
    return "float", str(value).removeprefix("+")


def _symbolic(value: sympy.Basic | sympy.MatrixBase) -> tuple[ValueType, str]:
    if isinstance(value, sympy.Integer):
        return "int", _digits(int(value))
    if isinstance(value, sympy.Rational):
        return _ratio(int(value.p), int(value.q))
    if isinstance(value, sympy.logic.boolalg.BooleanAtom):
        return "bool", str(bool(value))
    special = {sympy.nan: "nan", sympy.oo: "inf", -sympy.oo: "-inf"}
    if isinstance(value, sympy.Number):
        return "float", special.get(value) or str(value)
    return "expression", sympy.sstr(value)


def _text(value: object) -> tuple[ValueType, str]:
    return "text", str(value)


def _clipped(value: object) -> str:
    if isinstance(value, int):
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    try:
        text = as_written(str(value))
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= _CLIPPED else f"{text[:_CLIPPED]}…"
