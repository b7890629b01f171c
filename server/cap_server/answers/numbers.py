"""Numbers with what was written around them, and when two are the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from fractions import Fraction

from cap_server.answers.units import UNKNOWN, Unit, shared

Value = Fraction | Decimal | float
"""Exact, unless it is irrational (a float). Very long numbers are Decimals, to be compared only."""

_TOLERANCE = Fraction(1, 10**9)
"""Relative; what floating-point noise may differ by."""

_NOISE = Fraction(1, 10**12)
_NOISY_DIGITS = 10
_PRECISION = 1100
"""Digits of a Decimal made of a Fraction: as many as one is read with, and some more."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number and what was written around it.

    Attributes:
        value: exact; a float where it is irrational, a Decimal where it is very long.
        places: decimals as written; None for fractions, expressions and powers of ten.
        digits: significant digits as written.
        percent: whether a percent sign stands after it; `value` is what stands before that.
        written: the number's own part of the text, without money and units.
        phrase: the words after it.
    """

    value: Value
    places: int | None = None
    digits: int = 0
    percent: bool = False
    exact: bool = True
    unit: Unit = UNKNOWN
    written: str = ""
    phrase: str = ""


def same_number(a: Number, b: Number) -> bool:
    """Return whether two numbers are the same in value and do not conflict in unit."""
    measure, rate = shared(a.unit.measure, b.unit.measure), shared(a.unit.rate, b.unit.rate)
    if measure is None or rate is None:
        return False
    factor = measure / rate
    if factor != 1:
        a = replace(a, value=scaled(a.value, factor), places=None)
    if a.percent == b.percent:
        return _close(a, b)
    percent, other = (a, b) if a.percent else (b, a)
    return _close(percent, other) or _close(_as_part(percent), other)


def _as_part(number: Number) -> Number:
    places = None if number.places is None else number.places + 2
    if number.places is not None and number.places < 2:
        places = None
    return replace(number, value=scaled(number.value, Fraction(1, 100)), places=places)


def scaled(value: Value, factor: Fraction) -> Value:
    if isinstance(value, Decimal):
        return value * factor.numerator / factor.denominator
    return value * factor


def _close(a: Number, b: Number) -> bool:
    if a.value == b.value:
        return True
    if isinstance(a.value, Decimal) or isinstance(b.value, Decimal):
        return _close_long(_decimal(a.value), _decimal(b.value))
    x, y = Fraction(a.value), Fraction(b.value)
    if a.exact and b.exact and x.denominator == y.denominator == 1:
        return False
    difference = abs(x - y)
    if difference <= _TOLERANCE * max(abs(x), abs(y)):
        return True
    return _is_noise(a, y) or _is_noise(b, x) or _rounds(a, y) or _rounds(b, x)


def _is_noise(number: Number, other: Fraction) -> bool:
    """Whether `number` is what floating-point arithmetic leaves in place of zero."""
    return other == 0 and abs(Fraction(number.value)) < _NOISE and number.digits >= _NOISY_DIGITS


def _rounds(number: Number, longer: Fraction) -> bool:
    """Whether `number` is `longer` rounded; one place less could be another answer."""
    if number.places is None or number.places < 2 or number.digits < 2:
        return False
    unit_place = Fraction(1, 10**number.places)
    if (longer * 10 ** (number.places + 1)).denominator == 1:
        return False
    return abs(Fraction(number.value) - longer) <= unit_place / 2


def _close_long(a: Decimal, b: Decimal) -> bool:
    if a == b:
        return True
    if _is_whole(a) and _is_whole(b):
        return False
    with localcontext(prec=30):
        return abs(a - b) <= Decimal("1e-9") * max(abs(a), abs(b))


def _is_whole(value: Decimal) -> bool:
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= 0


def _decimal(value: Value) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        return Decimal(value) if math.isfinite(value) else Decimal(0)
    with localcontext(prec=_PRECISION):
        return Decimal(value.numerator) / Decimal(value.denominator)
