"""Answers from the typed values that programs leave."""

from __future__ import annotations

import cmath
import re
from decimal import Decimal, InvalidOperation

from cap_server.answers.extraction import announced
from cap_server.answers.last_number import only_number
from cap_server.answers.tidying import quantity
from cap_server.domain import Answer, Value

_DIGITS = 12
"""Significant digits of a float; what lies beyond is noise of its arithmetic."""

_LARGE = 1e11
_LONGEST = 20_000
_NOTHING = ("none", "nan", "inf", "-inf", "null")
_LABEL = re.compile(r"^[^:：=\d]{1,60}[:：=]\s*(.+)$", re.DOTALL)
_MIDNIGHT = re.compile(r"[ T]00:00:00(?:\.0+)?(?:[+-]00:00|Z)?$")


def from_value(value: Value) -> Answer | None:
    """Return the answer that a program's value is; None if it is none, like NaN or no text."""
    match value.type:
        case "none":
            return None
        case "float":
            return _answer(_float(value.text))
        case "decimal":
            return _answer(_decimal(value.text))
        case "complex":
            return _answer(_complex(value.text))
        case "list" | "dict":
            return _answer(_collection(value))
        case "text":
            return _answer(_printed(value.text))
        case "expression":
            return _expression(value)
        case "date":
            return _answer(_MIDNIGHT.sub("", value.text))
    return _answer(value.text)


def _answer(text: str | None) -> Answer | None:
    text = (text or "").strip()
    return Answer(text) if text else None


def _expression(value: Value) -> Answer | None:
    text = value.text.strip()
    return Answer(text, value.latex) if text and text not in ("nan", "zoo") else None


def _float(text: str) -> str | None:
    try:
        number = float(text)
    except ValueError:
        return text
    return _number(number) if cmath.isfinite(number) else None


def _number(number: float) -> str:
    if number.is_integer() and abs(number) < 2**53:
        return str(int(number))
    if abs(number) >= _LARGE:
        return repr(number)
    return format(number, f".{_DIGITS}g")


def _decimal(text: str) -> str | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number.is_finite():
        return None
    written = str(number)
    if "E" not in written and "." in written:
        written = written.rstrip("0").rstrip(".")
    return "0" if number.is_zero() else written


def _complex(text: str) -> str | None:
    try:
        number = complex(text.replace(" ", ""))
    except ValueError:
        return text
    if not cmath.isfinite(number):
        return None
    if number.imag == 0:
        return _number(number.real)
    sign = "-" if number.imag < 0 else "+"
    imaginary = f"{_number(abs(number.imag))}i"
    return f"{_number(number.real)} {sign} {imaginary}"


def _collection(value: Value) -> str:
    """Members as answers; the only member of a list, or value of a dict, stands for itself."""
    if value.entries is not None:
        pairs = [(key.text, _member(member)) for key, member in value.entries]
        return pairs[0][1] if len(pairs) == 1 else ", ".join(f"{k} = {v}" for k, v in pairs)
    if value.items is None:
        return value.text
    members = [_member(member) for member in value.items]
    if len(members) == 1:
        return members[0]
    opening, closing = "{}" if value.text.startswith(("{", "set(", "frozenset(")) else "[]"
    return f"{opening}{', '.join(members)}{closing}"


def _member(value: Value) -> str:
    if value.type == "text":
        return value.text.strip()
    answer = from_value(value)
    return value.text if answer is None else answer.text


def _printed(text: str) -> str | None:
    """A printed line is read where one reading is plain, else it stays as it is."""
    line = text.strip().rpartition("\n")[2].strip()
    if line.casefold() in _NOTHING:
        return None
    if len(line) > _LONGEST:
        return line
    labelled = _LABEL.match(line)
    return (
        quantity(line)
        or announced(line)
        or (quantity(labelled[1]) if labelled else None)
        or only_number(line)
        or line
    )
