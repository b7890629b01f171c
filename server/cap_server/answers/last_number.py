"""The number that a text ends on, where no phrase says which one is its answer."""

from __future__ import annotations

import re

_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.,^\\])(?P<sign>-\s?)?(?P<currency>US\$|\\?\$|[€£¥￥])?\s?(?P<inner>-)?"
    r"(?P<number>\\[dt]?frac\s?\{\d{1,18}\}\s?\{\d{1,18}\}"
    r"|\d{1,18}\(\d{1,18}/\d{1,18}\)|\d{1,18} \d{1,18}/\d{1,18}"
    r"|(?:\d{1,3}(?:,\d{3})+|\d+)(?![\d])(?:\.\d+)?(?:\s?/\s?\d{1,18})?|\.\d+)"
    r"\s?(?P<scale>万亿|[万亿]|(?:thousand|million|billion)\b)?(?P<percent>\s?\\?[%％])?"
    r"(?P<ordinal>(?:st|nd|rd|th)\b)?(?![A-Za-z]*\d)"
)
_BOUNDARY = re.compile(
    r"[.!?;]\s|[。！？；\n]|,\s(?:so|which|meaning|leaving)\b|\b(?:therefore|hence)\b", re.I
)
_RESULT = re.compile(r"(?:[=≈]|\*\*)\s*$")
_LOOK_BACK = 4


def last_number(text: str) -> str | None:
    """Return the number that `text` ends on, with its percent sign, without money and units.

    That is the last result (`= 45`, `**45**`) in the last sentence that has numbers; else the
    number in it that repeats the result before it, since `So it costs $92 after 36 months` does
    not answer 36; else its last number.
    """
    found = [number for number in _NUMBER.finditer(text) if _counts(text, number)]
    if not found:
        return None
    start = _sentence_start(text, found[-1].start())
    inside = [number for number in found if number.start() >= start]
    results = [number for number in found if _is_result(text, number)]
    if results and results[-1].start() >= start:
        return _written(text, results[-1])
    repeated = [
        number for number in inside if results and number["number"] == results[-1]["number"]
    ]
    return _written(text, (repeated or found)[-1])


def only_number(text: str) -> str | None:
    """Return the number of `text` if it has exactly one."""
    found = list(_NUMBER.finditer(text))
    return _written(text, found[0]) if len(found) == 1 else None


def _counts(text: str, number: re.Match[str]) -> bool:
    return not number["ordinal"] or _is_result(text, number)


def _is_result(text: str, number: re.Match[str]) -> bool:
    before = text[max(0, number.start() - _LOOK_BACK) : number.start()]
    return bool(_RESULT.search(before))


def _sentence_start(text: str, end: int) -> int:
    return max((found.end() for found in _BOUNDARY.finditer(text, 0, end)), default=0)


def _written(text: str, number: re.Match[str]) -> str:
    subtracts = number["sign"] and _subtracts(text, number.start())
    negative = number["inner"] or (number["sign"] and not subtracts)
    scale = number["scale"] or ""
    digits = number["number"] + (f" {scale}" if scale.isascii() and scale else scale)
    return ("-" if negative else "") + digits + ("%" if number["percent"] else "")


def _subtracts(text: str, at: int) -> bool:
    """Whether the minus at `at` stands between two terms, as in `7 - 5`."""
    before = text[max(0, at - 20) : at].rstrip()
    return bool(before) and (before[-1].isdigit() or before[-1] in ")%$")
