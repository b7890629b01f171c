"""Numbers spelled out: `eighteen`, `twenty-one`, `十八`, `三百零五`."""

from __future__ import annotations

import re
from fractions import Fraction

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = {
    **{word: number for number, word in enumerate(_SMALL.split())},
    **{word: 10 * number for number, word in enumerate(_TENS.split(), start=2)},
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_ENGLISH = re.compile(rf"(?:(?:{'|'.join((*_VALUES, *_SCALES, 'and'))})(?![a-z])[\s-]*)+", re.I)

_DIGITS = {digit: number for number, digit in enumerate("零一二三四五六七八九")} | {
    "两": 2,
    "〇": 0,
}
_PLACES = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10**4, "亿": 10**8}
_CHINESE = re.compile(r"[零〇一二两三四五六七八九十百千万亿]+")
_CHINESE_DECIMAL = re.compile(
    r"([零〇一二两三四五六七八九十百千万亿]+)点([零〇一二三四五六七八九]+)(?![十分刻])"
)
_ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth"
_PARTS = {
    **{name: below for below, name in enumerate(_ORDINALS.split(), start=3)},
    "half": 2,
    "halves": 2,
    "quarter": 4,
}
_FRACTION = re.compile(
    rf"(an?|{'|'.join(_SMALL.split()[1:])})[\s-]+({'|'.join(_PARTS)})s?(?=\s*$|\s+of\b)", re.I
)
_LONGEST = 40


def spelled(text: str) -> tuple[Fraction, int] | None:
    """Return the number that `text` begins with in words, and where the words end."""
    if found := _CHINESE_DECIMAL.match(text[: 2 * _LONGEST]):
        digits = "".join(str(_DIGITS[character]) for character in found[2])
        return _chinese(found[1]) + Fraction(f"0.{digits}"), found.end()
    if found := _FRACTION.match(text):
        above, below = found[1].casefold(), found[2].casefold()
        return Fraction(_VALUES.get(above, 1), _PARTS[below]), found.end()
    return _whole(text)


def _whole(text: str) -> tuple[Fraction, int] | None:
    if found := _CHINESE.match(text):
        return (Fraction(_chinese(found[0])), found.end()) if found.end() <= _LONGEST else None
    found = _ENGLISH.match(text[: 4 * _LONGEST])
    if found is None:
        return None
    words = [word for word in re.split(r"[\s-]+", found[0].casefold()) if word not in ("", "and")]
    if not words or words[0] in _SCALES or found[0].casefold().startswith("and"):
        return None
    return Fraction(_english(words)), found.end()


def _english(words: list[str]) -> int:
    total = part = 0
    for word in words:
        if word in _VALUES:
            part += _VALUES[word]
        elif word == "hundred":
            part *= 100
        else:
            total, part = total + part * _SCALES[word], 0
    return total + part


def _chinese(text: str) -> int:
    if all(character in _DIGITS for character in text):
        return int("".join(str(_DIGITS[character]) for character in text))
    total = section = digit = 0
    for character in text:
        if character in _DIGITS:
            digit = _DIGITS[character]
        elif character in _PLACES:
            section, digit = section + (digit or 1) * _PLACES[character], 0
        else:
            total, section, digit = (total + section + digit) * _MYRIADS[character], 0, 0
    return total + section + digit
