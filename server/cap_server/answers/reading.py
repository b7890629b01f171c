"""What a text may stand for: numbers, moments, ratios, lists, formulas, words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from cap_server.answers.formulas import Formula, read_formula
from cap_server.answers.moments import Moment, read_moment
from cap_server.answers.numbers import Number
from cap_server.answers.plain import READABLE, plain
from cap_server.answers.written_numbers import read_number


@dataclass(frozen=True, slots=True)
class Ratio:
    """`3:4`, `1:2:3`: equal to every multiple of itself."""

    terms: tuple[Fraction, ...]


@dataclass(frozen=True, slots=True)
class Members:
    """A list, tuple, set or interval.

    Attributes:
        texts: the members, not yet read.
        brackets: `{}` for a set, where order means nothing; `[)` and `(]` for half-open intervals;
            else empty.
    """

    texts: tuple[str, ...]
    brackets: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """Anything else, folded so that case, articles, punctuation and spacing do not count."""

    folded: str


Meaning = Number | Moment | Ratio | Members | Formula | Words

_ASSIGNED = re.compile(
    r"^(?:[^\W\d_](?:[\w ']{0,40})?(?:\([a-z]\))?|[^=]*[\d)]\s*)\s*(?:==?|∈|\\in\b)\s*(?=[^=\s])"
)
_RATIO = re.compile(r"\s*(?::|\bto\b|比)\s*")
_SPLIT = re.compile(r"\s*[,;]\s*(?:and\s+|or\s+)?|\s+and\s+|\s+or\s+|\s*[和或及]\s*")
_COMMA = re.compile(r"[,;]\s")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = re.compile(r"[^\w+\-*/^=<>%$€£¥]+|_+")
_TRUTH = dict.fromkeys(
    ("yes", "true", "是", "对", "是的", "对的", "正确", "能", "会", "可以"), "yes"
)
_TRUTH |= dict.fromkeys(
    ("no", "false", "否", "不是", "不对", "错", "错误", "不能", "不会", "不可以"), "no"
)
_TRAILING = " .,;:?\"'"
_REMEMBERED = 200
"""Characters of the longest text whose meanings are kept: one request compares an answer often."""


def read(text: str) -> tuple[Meaning, ...]:
    """Return what `text` may stand for, the likeliest first; one meaning is the rule."""
    return _remembered(text) if len(text) <= _REMEMBERED else _read(text)


@lru_cache(maxsize=4096)
def _remembered(text: str) -> tuple[Meaning, ...]:
    return _read(text)


def _read(text: str) -> tuple[Meaning, ...]:
    written = _trimmed(plain(text)) or text.strip()
    if len(written) > READABLE:
        number = read_number(written)
        return (number or Words(written.casefold()),)
    return _meanings(written)


def _trimmed(text: str) -> str:
    text = text.rstrip(_TRAILING).lstrip(" ,;:?\"'")
    if text.endswith("!") and not re.search(r"[)\w]\s*[-+*/^]", text):
        text = text.rstrip("! ")
    return text


def _meanings(text: str) -> tuple[Meaning, ...]:
    moment, ratio = read_moment(text), _ratio(text)
    if moment:
        return (moment, ratio) if ratio else (moment,)
    if ratio:
        return (ratio,)
    return (_meaning(text),)


def _meaning(text: str) -> Meaning:
    bare = _assigned(text)
    inner = _unbracketed(bare)
    if members := _members(bare, inner):
        return members
    return read_number(bare) or read_number(inner) or read_formula(bare) or _words(text)


def _assigned(text: str) -> str:
    """What stands right of the last `=` where the left is a name or a calculation."""
    for _ in range(3):
        found = _ASSIGNED.match(text)
        if found is None or len(text) > 1000:
            break
        text = text[found.end() :]
    return text


def _unbracketed(text: str) -> str:
    """The inside of brackets that hold one thing only."""
    while len(text) > 2 and (text[0], text[-1]) in (("(", ")"), ("[", "]"), ("⦃", "⦄")):
        if not _encloses(text):
            break
        text = text[1:-1].strip()
    return text


def _encloses(text: str) -> bool:
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([⦃") - (character in ")]⦄")
        if depth == 0:
            return at == len(text) - 1
    return False


def _ratio(text: str) -> Ratio | None:
    if len(text) > 200:
        return None
    terms = _RATIO.split(text)
    numbers = [read_number(term) for term in terms] if 2 <= len(terms) <= 6 else []
    fractions = [
        n.value
        for n in numbers
        if n and not n.phrase and not n.percent and isinstance(n.value, Fraction)
    ]
    if len(fractions) < max(2, len(terms)) or not any(fractions):
        return None
    return Ratio(tuple(fractions))


def value(ratio: Ratio) -> Number | None:
    """The number that a ratio of two terms is."""
    if len(ratio.terms) != 2 or not ratio.terms[1]:
        return None
    return Number(ratio.terms[0] / ratio.terms[1])


def _members(text: str, inner: str) -> Members | None:
    pair = text[:1] + text[-1:]
    enclosed = pair in ("()", "[]", "⦃⦄", "[)", "(]") and _encloses(text)
    if enclosed and pair == "()" and read_number(text):
        enclosed = "," in inner
    parts = _parts(text[1:-1] if enclosed else text, enclosed=enclosed)
    if len(parts) < 2 or not all(parts):
        return None
    if not enclosed:
        return Members(parts) if _are_values(parts) else None
    brackets = {"⦃⦄": "{}", "[)": "[)", "(]": "(]"}.get(pair, "")
    return Members(parts, brackets)


def _parts(text: str, *, enclosed: bool) -> tuple[str, ...]:
    """Cut at the separators outside brackets; `1,234` is one number unless brackets hold it."""
    if not enclosed and (not _SPLIT.search(text) or read_number(text)):
        return (text,)
    spaced = bool(_COMMA.search(text))
    parts, depth, start = [], 0, 0
    separators = {found.start(): found.end() for found in _SPLIT.finditer(text)}
    for at, character in enumerate(text):
        depth += (character in "([⦃") - (character in ")]⦄")
        end = separators.get(at)
        if (
            depth
            or end is None
            or (spaced and text[at:end] == "," and text[end : end + 1].isdigit())
        ):
            continue
        parts.append(text[start:at].strip())
        start = end
    return (*parts, text[start:].strip())


def _are_values(parts: tuple[str, ...]) -> bool:
    """Whether a list without brackets holds values; `Paris, France` is one thing."""
    return all(not isinstance(_meanings(part)[0], Words) for part in parts[:100])


def _words(text: str) -> Words:
    folded = _PUNCTUATION.sub(" ", _ARTICLES.sub(" ", text.casefold()))
    folded = " ".join(folded.split()).strip(" -*") or text.casefold()
    return Words(_TRUTH.get(folded, folded))
