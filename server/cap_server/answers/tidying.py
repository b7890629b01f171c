"""The answer at the head of a sentence: `$18.50 per week, since …` is 18.50."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cap_server.answers.last_number import last_number
from cap_server.answers.numbers import Number, leading_number
from cap_server.answers.plain import plain
from cap_server.answers.reading import Meaning, Words, read

_LONGEST = 400
_TEXT = 200
_SENTENCE = re.compile(r"[.!?](?=\s|$)|[。！？]|\n")
_TAIL = re.compile(
    r"\s+(?:because|since|as|so|which|where|when|if|after|before|for|in|at|on|from|by|with|than|left"
    r"|assuming|rounded|meaning)\b|[,;，；]\s|\s[(（]|[,，；]?(?:因为|所以|其中)|\s*[=≈]\s*(?=\S)|\s-+\s"
)
_SHOWN_UNITS = frozenset(("dollar", "yuan"))
_OPENING = re.compile(r"^(?:[\s:：*_`>#]|-(?=\s))*(?:(?:equal to|that|就?是|为|应该是|应为)\s*[:：]?)?[\s:：]*")


def tidy(tail: str) -> str | None:
    """Return the answer that `tail`, the text after "the answer is", begins with."""
    sentence = _sentence(tail)
    if not sentence:
        return None
    for part in _parts(sentence):
        shown = _shown(part)
        if shown is not None:
            return shown
    number = leading_number(plain(sentence))
    if number:
        return number.written
    return last_number(sentence) or _text(sentence)


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
    """The sentence, then what is right of its last `=`, then shorter and shorter heads of it."""
    yield sentence
    cuts = [found.start() for found in _TAIL.finditer(sentence)][:20]
    yield from (sentence[:cut] for cut in reversed(cuts) if cut)


def _shown(part: str) -> str | None:
    part = part.strip()
    meaning = read(part)[0] if part else Words("")
    if isinstance(meaning, Words):
        return None
    return shown_number(meaning) if isinstance(meaning, Number) else _stripped(part)


def shown_number(number: Number) -> str:
    """Return a number as an answer shows it: with its percent sign and known measure only."""
    measures = {sense.dimension for sense in number.unit.measure}
    if not measures or measures & _SHOWN_UNITS:
        return number.written
    return f"{number.written} {number.phrase}".strip()


def _stripped(part: str) -> str:
    return plain_edges(part).rstrip(" .。,，;；!！").strip()


def plain_edges(part: str) -> str:
    """Return `part` without the Markdown and dollar signs around it."""
    part = part.strip().strip("*`_ ").strip()
    while len(part) > 2 and part[0] == part[-1] == "$":
        part = part[1:-1].strip()
    return part


def _text(sentence: str) -> str | None:
    return _stripped(plain(sentence))[:_TEXT] or None
