"""Numbers as they are written, with money, percent and units, and when two are the same."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from fractions import Fraction

from cap_server.answers.arithmetic import NotANumberError, evaluate
from cap_server.answers.number_words import spelled
from cap_server.answers.units import CURRENCIES, Unit, shared, unit

_TOLERANCE = Fraction(1, 10**9)
"""Relative; what floating-point noise may differ by."""

_NOISE = Fraction(1, 10**12)
_NOISY_DIGITS = 10
_EXACT_DIGITS = 1000
"""Digits up to which a number is a Fraction; longer ones are only compared."""

_LITERAL = (
    r"(?P<mixed>\d{1,18}(?:\s*\(\s*|\s+(?:and\s+)?|\s*又\s*)\d{1,18}\s*/\s*\d{1,18}\)?)"
    r"|(?P<part>\d{1,18}\s*分之\s*\d{1,18})"
    r"|(?P<plain>(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d{1,4}(?:,\d{4})+"
    r"|\d{1,3}(?:[ _]\d{3})+|\d+)(?![\d])(?:\.\d+)?|\.\d+)(?:\.(?!\d))?"
    r"(?:(?:[eE]|\s?\*\s?10\s?(?:\^|\*\*)\s?)(?P<exponent>\(?[-+]?\d{1,6}\)?)(?!\d))?"
)
_SIGNS = "|".join(map(re.escape, CURRENCIES))
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s?(?P<currency>{_SIGNS})?\s?(?P<inner>[-+]?)\s?(?:{_LITERAL})"
    r"\s*(?P<scale>(?:thousand|million|billion|trillion)\b|[kKMB](?![A-Za-z])|万亿|[万亿千百])?"
    r"\s*(?P<percent>%|percent\b|per\s?cent\b|percentage points?\b)?"
)
_SCALES = {
    "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "k": 3, "m": 6, "b": 9,
    "百": 2, "千": 3, "万": 4, "亿": 8, "万亿": 12,
}  # fmt: skip
_ABOUT = re.compile(
    r"^(?:(?:approximately|approx\.?|about|around|roughly|nearly|almost|exactly|only|just|a total of"
    r"|in total|total of|an average of|大约|约为|约|共有|一共|共|是|为|~|≈)\s*)+",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"\b(?:and|or|to|because|since|is|are|was|were|plus|minus|but|so|which|if|when|then|than|not)\b"
    r"|[,;:=<>?!@#|\\\"]|[^\W\d_]{30}"
)
_PHRASE = re.compile(r"(?=/?\s?[^\W\d_]|[°'$€£¥¢])(?:[^\W\d_]\^?\(?[23]\)?(?!\w)|[^\W\d_]|[°'/.\-\s()$€£¥¢])+")
_PHRASE_LENGTH = 100
_UNIT_WORDS = 8


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

    value: Fraction | Decimal | float
    places: int | None = None
    digits: int = 0
    percent: bool = False
    exact: bool = True
    unit: Unit = Unit()
    written: str = ""
    phrase: str = ""


def read_number(text: str) -> Number | None:
    """Return the number that all of `text`, in plain notation, stands for."""
    text = _ABOUT.sub("", text).strip()
    if text.startswith("(") and text.endswith(")") and text[1:2] in "$€£¥":
        text = "-" + text[1:-1]
    if len(text) > _EXACT_DIGITS:
        return _long(text)
    return _literal(text) or _composite(text) or _expression(text) or _spelled(text)


def leading_number(text: str) -> Number | None:
    """Return the number that `text` begins with, whatever follows it."""
    text = _ABOUT.sub("", text).strip()
    found = _NUMBER.match(text[:_EXACT_DIGITS])
    return _number(found, "") if found and _ends_word(found) else None


def _ends_word(found: re.Match[str]) -> bool:
    after = found.string[found.end() : found.end() + 2]
    return not re.match(r"[:/^*]\d|\d", after)


def _long(text: str) -> Number | None:
    found = re.fullmatch(r"([-+]?)[$¥€£]?(\d+|\d{1,3}(?:,\d{3})+)(\.\d*)?", text)
    if found is None:
        return None
    written = found[1] + found[2].replace(",", "") + (found[3] or "")
    return Number(Decimal(written), digits=len(text), written=written)


def _literal(text: str) -> Number | None:
    found = _NUMBER.match(text)
    if found is None:
        return None
    rest = text[found.end() :].strip()
    if rest and not _is_phrase(rest, glued=text[found.end()] != " "):
        return None
    return _number(found, rest)


def _is_phrase(rest: str, *, glued: bool) -> bool:
    """Whether `rest` can be what a number counts; `2x`, `3 y` and `2ab` are algebra instead."""
    rest = rest.rstrip(" .")
    if not rest:
        return True
    if len(rest) > _PHRASE_LENGTH or len(rest.split()) > _UNIT_WORDS:
        return False
    if not _PHRASE.fullmatch(rest) or _CLAUSE.search(rest):
        return False
    short = len(rest) <= (2 if glued else 1) and rest.isascii() and rest.isalpha()
    return not short or bool(unit(rest).measure)


def _number(found: re.Match[str], rest: str) -> Number | None:
    value = _value(found)
    if value is None:
        return None
    digits = (found["plain"] or "").replace(",", "").replace("_", "").replace(" ", "")
    scale = (found["scale"] or "").casefold()
    if scale in ("k", "m", "b") and not found["currency"]:
        return None
    value *= 10 ** _SCALES.get(scale, 0)
    power = bool(scale or found["exponent"])
    negative = (found["sign"] == "-") != (found["inner"] == "-")
    written = found[0].replace(found["currency"] or "$", "").strip()
    return Number(
        -value if negative else value,
        places=len(digits.partition(".")[2]) if digits and not power else None,
        digits=len(digits.replace(".", "").lstrip("0")),
        percent=bool(found["percent"]),
        exact=not found["exponent"],
        unit=unit((found["currency"] or "") + rest if found["currency"] else rest),
        written=written,
        phrase=rest,
    )


def _value(found: re.Match[str]) -> Fraction | None:
    if found["mixed"]:
        whole, above, below = map(int, re.findall(r"\d+", found["mixed"]))
        return whole + Fraction(above, below) if below else None
    if found["part"]:
        below, above = map(int, re.findall(r"\d+", found["part"]))
        return Fraction(above, below) if below else None
    digits = re.sub("[, _]", "", found["plain"])
    exponent = int((found["exponent"] or "0").strip("()"))
    if abs(exponent) > _EXACT_DIGITS:
        return None
    return Fraction(digits) * Fraction(10) ** exponent


def _composite(text: str) -> Number | None:
    """`5 hours and 30 minutes`, `3元5角`: one quantity in the first part's unit."""
    parts = re.split(r"(?<=[A-Za-z\u4e00-\u9fff])[\s,]*(?:\band\b|零)?\s*(?=\d)", text)
    if not 2 <= len(parts) <= 4:
        return None
    numbers = [_literal(part) for part in parts]
    first = numbers[0]
    if first is None or not first.unit.measure:
        return None
    total = first.value
    for number in numbers[1:]:
        factor = shared(number.unit.measure, first.unit.measure) if number else None
        if number is None or not number.unit.measure or factor is None:
            return None
        total += number.value * factor
    return Number(total, unit=first.unit, written=text)


def _expression(text: str) -> Number | None:
    head = re.match(r"(.*[\d)%]|.*pi\b)\s*(.*)$", text, re.DOTALL)
    if head is None or (head[2] and not _is_phrase(head[2], glued=False)):
        return None
    try:
        value = evaluate(head[1])
    except NotANumberError:
        return None
    percent = re.fullmatch(r"\(([^()%]*)\)\s*%", head[1])
    if percent:
        value *= 100
    return Number(value, percent=bool(percent), unit=unit(head[2]), written=head[1], phrase=head[2])


def _spelled(text: str) -> Number | None:
    found = spelled(text)
    if found is None:
        return None
    value, end = found
    rest = text[end:].strip()
    if rest and not _is_phrase(rest, glued=False):
        return None
    return Number(Fraction(value), unit=unit(rest), written=text[:end].strip(), phrase=rest)


def same_number(a: Number, b: Number) -> bool:
    """Return whether two numbers are the same in value and do not conflict in unit."""
    measure, rate = shared(a.unit.measure, b.unit.measure), shared(a.unit.rate, b.unit.rate)
    if measure is None or rate is None:
        return False
    factor = measure / rate
    if factor != 1:
        a = replace(a, value=_times(a.value, factor), places=None)
    if a.percent == b.percent:
        return _close(a, b)
    percent, other = (a, b) if a.percent else (b, a)
    return _close(percent, other) or _close(_as_part(percent), other)


def _as_part(number: Number) -> Number:
    places = None if number.places is None else number.places + 2
    if number.places is not None and number.places < 2:
        places = None
    return replace(number, value=_times(number.value, Fraction(1, 100)), places=places)


def _times(value: Fraction | Decimal | float, factor: Fraction) -> Fraction | Decimal | float:
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
    return other == 0 and abs(number.value) < _NOISE and number.digits >= _NOISY_DIGITS


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


def _decimal(value: Fraction | Decimal | float) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        return Decimal(value) if math.isfinite(value) else Decimal(0)
    with localcontext(prec=_EXACT_DIGITS + 10):
        return Decimal(value.numerator) / Decimal(value.denominator)
