"""The answer at the head of a sentence: `$18.50 per week, since …` is 18.50."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cap_server.answers.last_number import last_number
from cap_server.answers.numbers import Number
from cap_server.answers.plain import plain
from cap_server.answers.reading import Words, read
from cap_server.answers.written_numbers import leading_number

_LONGEST = 400
_TEXT = 200
_SENTENCE = re.compile(r"[.!?](?=\s|$)|[。！？]|\n")
_TAIL = re.compile(
    r"\s+(?:because|since|as|so|which|where|when|if|after|before|for|in|at|on|from|by|with|than|left"
    r"|assuming|rounded|meaning)\b|[,;，；]\s|\s[(（]|[,，；]?(?:因为|所以|其中)|\s*[=≈]\s*(?=\S)|\s-+\s"
)
_HOME_MONEY = frozenset(("dollar", "yuan"))
_TRAILING = " .。,，;；!！"
_NAME = re.compile(r"^[A-Za-z]\s*=\s*")
_TRUTH = re.compile(r"(?:yes|no|true|false)\b(?=\s*[,.;:!])", re.IGNORECASE)
_DIGITS = re.compile(r"(?<![A-Za-z0-9_.,/^\\])[-$¥€£]{0,2}\d")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_ENDINGS = 10
_OPENING = re.compile(
    r"^(?:[\s:：*_`>#]|-(?=\s))*(?:(?:equal to|that|就?是|为|应该是|应为)\s*[:：]?)?[\s:：]*"
)


def tidy(tail: str) -> str | None:
    """Return the answer that `tail`, the text after "the answer is", begins with."""
    sentence = _sentence(tail)
    if not sentence:
        return None
    for part in _parts(sentence):
        shown = _shown(part)
        if shown is not None:
            return shown
    # A Chinese sentence puts its result last: in `3天后还剩45本` the 3 is no answer.
    number = None if _CHINESE.search(sentence) else leading_number(plain(sentence))
    if number:
        return number.written
    return _truth(sentence) or _ending(sentence) or last_number(sentence) or _text(sentence)


def _truth(sentence: str) -> str | None:
    found = _TRUTH.match(plain(sentence))
    return found[0] if found else None


def _ending(sentence: str) -> str | None:
    """The quantity that a sentence ends on, as in `每班还剩3元5角` and `Tom has 18 apples`."""
    starts = [found.start() for found in _DIGITS.finditer(sentence)][-_ENDINGS:]
    endings = (sentence[start:] for start in starts)
    return next((shown for ending in endings if (shown := _number(ending))), None)


def quantity(text: str) -> str | None:
    """Return `text` tidied if all of it is a number, a date, a list or a formula, else None."""
    return _shown(text) if len(text) <= _LONGEST else None


def _sentence(tail: str) -> str:
    tail = _OPENING.sub("", tail[: 4 * _LONGEST]).strip()
    for found in _SENTENCE.finditer(tail):
        if found[0] == "?" or found[0] == "？":
            return ""
        if tail[: found.start()].strip(" *_"):
            return tail[: found.end()].strip()[:_LONGEST]
    return tail[:_LONGEST]


def _parts(sentence: str) -> Iterator[str]:
    """The sentence, then shorter and shorter heads of it."""
    yield sentence
    cuts = [found.start() for found in _TAIL.finditer(sentence)][:20]
    yield from (sentence[:cut] for cut in reversed(cuts) if cut)


def _shown(part: str) -> str | None:
    part = part.strip()
    meaning = read(part)[0] if part else Words("")
    if isinstance(meaning, Words):
        return None
    return _number(part) or _stripped(part)


def _number(part: str) -> str | None:
    """A number with its percent sign and known measure; dollars and yuan go without saying."""
    number = read(part)[0]
    if not isinstance(number, Number):
        return None
    if "\\" in part and "(" in number.written:
        return _NAME.sub("", _stripped(part))
    measures = number.unit.measure
    if not measures or any(s.dimension in _HOME_MONEY and s.factor == 1 for s in measures):
        return number.written
    signed = not plain(part).startswith(number.written)
    return _stripped(part) if signed else f"{number.written} {number.phrase}".rstrip()


def _stripped(part: str) -> str:
    return plain_edges(part.rstrip(_TRAILING)).rstrip(_TRAILING)


def plain_edges(part: str) -> str:
    """Return `part` without the Markdown and dollar signs around it."""
    part = part.strip().strip("*`_ ").strip()
    while len(part) > 2 and part[0] == part[-1] == "$":
        part = part[1:-1].strip()
    return part


def _text(sentence: str) -> str | None:
    return _stripped(plain(sentence))[:_TEXT] or None
