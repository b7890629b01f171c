"""Where a question mentions numbers, in digits or in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from cap_training.data.number_words import in_words

_WORDS = {in_words(value): value for value in range(2, 100)} | {"dozen": 12}
_DIGITS = re.compile(
    r"(?<![A-Za-z0-9_.:/])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?![\d:/])(?!\.\d)(?!(?:st|nd|rd|th)\b)"
)
_WORD = re.compile(
    r"(?<![-\w])(" + "|".join(sorted(_WORDS, key=len, reverse=True)) + r")(?![-\w])", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A number in a text, from `start` to `end`."""

    start: int
    end: int
    value: Fraction
    in_words: bool


def mentions(text: str) -> tuple[Mention, ...]:
    """The numbers of a text in their order. Not read are times of day, fractions, ordinals, and
    a number before a colon.
    """
    found = [
        Mention(m.start(), m.end(), Fraction(m[0].replace(",", "")), in_words=False)
        for m in _DIGITS.finditer(text)
    ]
    found += [
        Mention(m.start(), m.end(), Fraction(_WORDS[m[0].lower()]), in_words=True)
        for m in _WORD.finditer(text)
        if m[0].lower() != "dozen"
    ]
    return tuple(sorted(found, key=lambda mention: mention.start))


def rewritten(text: str, new: dict[Mention, Fraction]) -> str:
    """The text with other numbers, written in the way that the old ones were."""
    for mention in sorted(new, key=lambda m: m.start, reverse=True):
        text = text[: mention.start] + _like(text, mention, new[mention]) + text[mention.end :]
    return text


def _like(text: str, mention: Mention, value: Fraction) -> str:
    old = text[mention.start : mention.end]
    if mention.in_words and value.denominator == 1 and 0 <= value < 100:
        word = in_words(int(value))
        return word.capitalize() if old[0].isupper() else word
    if value.denominator != 1:
        return f"{float(value):.2f}" if "." in old else f"{float(value):g}"
    if "." in old:
        return f"{float(value):.{len(old.split('.')[1])}f}"
    return f"{int(value):,}" if "," in old else str(value)
