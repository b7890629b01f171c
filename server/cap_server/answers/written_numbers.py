"""Reading numbers: money, percent, units, thousands, mixed numbers, expressions, words."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from cap_server.answers.arithmetic import NotANumberError, evaluate
from cap_server.answers.number_words import spelled
from cap_server.answers.numbers import Number
from cap_server.answers.units import CURRENCIES, is_measure, shared, unit

_EXACT_DIGITS = 1000
"""Digits up to which a number is a Fraction; longer ones are only compared."""

_LITERAL = (
    r"(?P<mixed>\d{1,18}(?:\s*\(\s*|\s+(?:and\s+)?|\s*又\s*)\d{1,18}\s*/\s*\d{1,18}\)?)"
    r"|(?P<plain>(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d{1,4}(?:,\d{4})+"
    r"|\d{1,3}(?:[ _]\d{3})+|\d+)(?![\d])(?:\.\d+)?|\.\d+)(?:\.(?!\d))?"
    r"(?:(?:[eE]|\s?\*\s?10\s?(?:\^|\*\*)\s?)(?P<exponent>\(?[-+]?\d{1,6}\)?)(?!\d))?"
)
_SIGNS = "|".join(map(re.escape, CURRENCIES))
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s?(?P<currency>{_SIGNS})?\s?(?P<inner>[-+]?)\s?(?:{_LITERAL})"
    r"\s*(?P<scale>(?:thousand|million|billion|trillion)\b|[kKMB](?![A-Za-z])"
    r"|万亿|[万亿]|[千百](?![克米瓦升]))?"
    r"\s*(?P<percent>%|percent\b|per\s?cent\b|percentage points?\b)?"
)
_SCALES = {
    "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "k": 3, "m": 6, "b": 9,
    "百": 2, "千": 3, "万": 4, "亿": 8, "万亿": 12,
}  # fmt: skip
_ABOUT = re.compile(
    r"^(?:(?:approximately|approx\.?|about|around|roughly|nearly|almost|exactly|only|just"
    r"|a total of|in total|total of|an average of|大约|约为|约|共有|一共|共|是|为|~|≈)\s*)+",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"\b(?:and|or|to|because|since|is|are|was|were|plus|minus|but|so|which|if|when|then|than|not)\b"
    r"|\b(?:sqrt|sin|cos|tan|log|ln|exp|pi|oo)\b|[,;:=<>?!@#|\\\"]|[^\W\d_]{30}"
)
_PHRASE = re.compile(
    r"(?=/?\s?[^\W\d_]|[°'$€£¥¢])(?:[^\W\d_]\^?\(?[23]\)?(?!\w)|[^\W\d_]|[°'/.\-\s()$€£¥¢])+"
)
_NEGATIVE = re.compile(r"(?:(?:minus|negative)\s+|负)(?=[\w$€£¥.])", re.IGNORECASE)
_AND_A_PART = re.compile(r"(\w{1,40}) and (?:a|one) (half|third|quarter)\b(.*)", re.IGNORECASE)
_PART = {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4)}
_PHRASE_LENGTH = 100
_UNIT_WORDS = 8


def read_number(text: str) -> Number | None:
    """Return the number that all of `text`, in plain notation, stands for."""
    text = _ABOUT.sub("", text).strip()
    if text.startswith("(") and text.endswith(")") and text[1:2] in "$€£¥":
        text = "-" + text[1:-1]
    if len(text) > _EXACT_DIGITS:
        return _long(text)
    if found := _NEGATIVE.match(text):
        return _negated(found[0], read_number(text[found.end() :]))
    return (
        _portion(text)
        or _literal(text)
        or _composite(text)
        or _expression(text)
        or _spelled(text)
        or _and_a_part(text)
    )


def _negated(sign: str, number: Number | None) -> Number | None:
    """`minus 5`, `negative five`, `负五`; two signs in a row are none of ours."""
    if number is None or number.value < 0:
        return None
    written = f"-{number.written}" if number.written[:1].isdigit() else f"{sign}{number.written}"
    return replace(number, value=-number.value, written=written)


def _and_a_part(text: str) -> Number | None:
    """`6 and a half`, `two and a quarter hours`."""
    found = _AND_A_PART.fullmatch(text)
    whole = read_number(found[1]) if found else None
    if found is None or whole is None or whole.phrase or whole.percent:
        return None
    part, rest = _PART[found[2].casefold()], found[3].strip()
    if not isinstance(whole.value, Fraction) or whole.value.denominator != 1:
        return None
    if rest and not _is_phrase(rest, glued=False):
        return None
    written = text[: len(text) - len(found[3])].strip()
    return Number(whole.value + part, unit=unit(rest), written=written, phrase=rest)


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


def _portion(text: str) -> Number | None:
    """`三分之二`, `3分之2`, and the percentages of which `百分之五十` is one."""
    below, separator, above = text.partition("分之")
    if not separator:
        return None
    numbers = [_literal(part) or _spelled(part) for part in (below.replace("百", "100"), above)]
    values = [n.value for n in numbers if n and not n.phrase and isinstance(n.value, Fraction)]
    if len(values) < 2 or not values[0]:
        return None
    if values[0] == 100:
        return Number(values[1], percent=True, written=text)
    return Number(values[1] / values[0], written=text)


def _literal(text: str) -> Number | None:
    found = _NUMBER.match(text)
    if found is None:
        return None
    rest = text[found.end() :].strip()
    if rest and not _is_phrase(rest, glued=text[found.end()] != " "):
        return None
    return _number(found, rest)


def _is_phrase(rest: str, *, glued: bool) -> bool:
    """Whether `rest` can be what a number counts; `2x`, `3 y` and `2 sqrt(3)` are algebra."""
    rest = rest.rstrip(" .")
    if not rest:
        return True
    if len(rest) > _PHRASE_LENGTH or len(rest.split()) > _UNIT_WORDS:
        return False
    if not _PHRASE.fullmatch(rest) or _CLAUSE.search(rest):
        return False
    first = re.match(r"/?\s*([A-Za-z]+)", rest)
    short = first and len(first[1]) <= (2 if glued else 1) and not _is_noun(rest, first[1])
    return not short


def _is_noun(rest: str, first: str) -> bool:
    known = unit(rest)
    return bool(known.measure or known.rate or unit(first).measure) or rest.startswith(first + "-")


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
        unit=unit(rest, currency=found["currency"]),
        written=written,
        phrase=rest,
    )


def _value(found: re.Match[str]) -> Fraction | None:
    if found["mixed"]:
        whole, above, below = map(int, re.findall(r"\d+", found["mixed"]))
        return whole + Fraction(above, below) if below else None
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
    numbers = [number for part in parts if (number := _literal(part))]
    if len(numbers) < len(parts) or not all(is_measure(n.phrase) for n in numbers[:-1]):
        return None
    unit_ = numbers[0].unit
    factors = [shared(n.unit.measure, unit_.measure) for n in numbers if n.unit.measure]
    if len(factors) < len(parts) or None in factors:
        return None
    values = (Fraction(n.value) * (factor or 1) for n, factor in zip(numbers, factors, strict=True))
    return Number(sum(values, Fraction(0)), unit=unit_, written=text)


def _expression(text: str) -> Number | None:
    head = re.match(r"(.*(?:[\d)%]|pi\b))\s*(.*)$", text, re.DOTALL)
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
    return Number(value, unit=unit(rest), written=text[:end].strip(), phrase=rest)
