"""Turns what a program left into a `Value`. Runs inside the program's process."""

from __future__ import annotations

import itertools
import types
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import cast

from cap_sandbox.names import as_written
from cap_sandbox.protocol import MAX_TEXT, MAX_VALUE_DEPTH, MAX_VALUE_NODES, Value, ValueType

_CLIPPED = 1_000
# The one-shot iterators that programs leave where they mean the list of their members.
_LAZY = (
    map, filter, zip, enumerate, reversed, types.GeneratorType, itertools.chain,
    itertools.combinations, itertools.permutations, itertools.product, itertools.islice,
)  # fmt: skip
_VIEWS = (KeysView, ValuesView, ItemsView)
_SEQUENCES = (list, tuple, set, frozenset, range, *_VIEWS)
_CODE = (type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType)


class TooLargeError(Exception):
    """The value does not fit the caps of the protocol."""


class StandardLibrary:
    """What values there are where no other library is loaded; `maths` knows more.

    Attributes:
        code: types of what is only code, and no value.
        tuples: types of what is shown in round brackets, besides `tuple`.
        sets: types of what is shown in braces, besides `set` and `frozenset`.
    """

    code: tuple[type, ...] = ()
    tuples: tuple[type, ...] = ()
    sets: tuple[type, ...] = ()

    def start(self) -> None:
        """Put the libraries into the state in which every program finds them."""

    def unpacked(self, value: object, max_members: int) -> object:
        """Return an array as a list or a number, and anything else as it is.

        Raises:
            TooLargeError: it has more than `max_members`.
        """
        return value

    def leaf(self, value: object) -> tuple[ValueType, str] | None:
        """Return type and text of what only this library knows."""
        return None

    def latex(self, value: object) -> str | None:
        return None

    def outline(self, value: object) -> str | None:
        """Say what a value is that is too large to show; None where its text's beginning does."""
        return None

    def plain(self, value: object) -> tuple[ValueType, str]:
        """Return type and text of anything that is no container."""
        if value is None:
            return "none", "None"
        found = self.leaf(value)
        if found is not None:
            return found
        if isinstance(value, (bool, int, float, complex, Fraction, Decimal)):
            return _number(value)
        if isinstance(value, date):
            return "date", value.isoformat()
        return "text", str(value)


def is_answer(value: object, library: StandardLibrary) -> bool:
    """Whether a program can mean `value` as its answer: not None, and nothing that is only code."""
    return value is not None and not isinstance(value, (*_CODE, *library.code))


def to_value(value: object, library: StandardLibrary) -> Value:
    """Return `value` as the protocol carries it.

    A container of more than 2,000 values, deeper than 16, or of more than 128 Ki characters, and an
    integer of more digits than that, become a `text` that shows their beginning.
    """
    try:
        return _Converter(library).convert(value)
    except TooLargeError:
        return Value("text", _clipped(value, library))


class _Converter:
    """Converts one value and counts what it has taken so far."""

    def __init__(self, library: StandardLibrary) -> None:
        self._library = library
        self._iterables = (*_SEQUENCES, *_LAZY, *library.tuples, *library.sets)
        self._nodes = 0
        self._characters = 0

    def convert(self, value: object, depth: int = 0) -> Value:
        self._nodes += 1
        if self._nodes > MAX_VALUE_NODES or depth > MAX_VALUE_DEPTH:
            raise TooLargeError
        if isinstance(value, Mapping):
            return self._dict(value, depth)
        unpacked = self._library.unpacked(value, MAX_VALUE_NODES)
        if unpacked is not value:
            return self.convert(unpacked, depth)
        if isinstance(value, self._iterables):
            return self._list(cast("Iterable[object]", value), depth)
        return self._leaf(value)

    def _leaf(self, value: object) -> Value:
        kind, text = self._library.plain(value)
        text = as_written(text)
        latex = self._library.latex(value) if kind == "expression" else None
        if latex is not None:
            latex = as_written(latex)
        self._count(text + (latex or ""))
        return Value(kind, text, latex=latex)

    def _list(self, members: Iterable[object], depth: int) -> Value:
        taken = list(itertools.islice(_ordered(members), MAX_VALUE_NODES + 1))
        items = tuple(self.convert(member, depth + 1) for member in taken)
        opening, closing = self._brackets(members)
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

    def _brackets(self, members: object) -> tuple[str, str]:
        if isinstance(members, (tuple, *self._library.tuples)):
            return "(", ")"
        if isinstance(members, (set, frozenset, *self._library.sets)) and members:
            return "{", "}"
        return "[", "]"

    def _count(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > MAX_TEXT:
            raise TooLargeError


def _ordered(members: Iterable[object]) -> Iterator[object]:
    """Iterate; sets in an order that does not depend on hashes."""
    if isinstance(members, (set, frozenset)):
        try:
            return iter(sorted(cast("Iterable[int]", members)))
        except (TypeError, ValueError):
            return iter(sorted(members, key=repr))
    return iter(members)


def _shown(member: object, value: Value) -> str:
    """Return how a container shows a member."""
    return repr(value.text) if isinstance(member, (str, date)) else value.text


def _number(value: bool | int | float | complex | Fraction | Decimal) -> tuple[ValueType, str]:
    # `int.__repr__` and its like: a subclass (an enumeration, a program's own) may say anything.
    if isinstance(value, bool):
        return "bool", repr(value)
    if isinstance(value, int):
        return "int", digits(value)
    if isinstance(value, float):
        return "float", float.__repr__(value)
    if isinstance(value, complex):
        return "complex", complex.__repr__(value).strip("()")
    if isinstance(value, Fraction):
        return ratio(value.numerator, value.denominator)
    return "decimal", Decimal.__str__(value)


def ratio(numerator: int, denominator: int) -> tuple[ValueType, str]:
    """Return type and text of a fraction in lowest terms."""
    if denominator == 1:
        return "fraction", digits(numerator)
    return "fraction", f"{digits(numerator)}/{digits(denominator)}"


def digits(value: int) -> str:
    """Write an integer out.

    Raises:
        TooLargeError: it has more digits than Python writes.
    """
    try:
        return int.__repr__(value)
    except ValueError:
        raise TooLargeError from None


def _clipped(value: object, library: StandardLibrary) -> str:
    if isinstance(value, int):
        return f"an integer of {value.bit_length()} bits"
    outline = library.outline(value)
    if outline is not None:
        return outline
    try:
        text = as_written(str(value))
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} too large to show"
    return text if len(text) <= _CLIPPED else f"{text[:_CLIPPED]}…"
