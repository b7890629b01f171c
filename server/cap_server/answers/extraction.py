"""The answer that a chain of thought comes to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cap_server.answers.last_number import last_number
from cap_server.answers.options import alone, letter, option
from cap_server.answers.tidying import plain_edges, quantity, tidy
from cap_server.domain import Answer

_LONGEST = 65536
"""Characters of a CoT that are read, from its end: the answer stands there."""

_TAIL = 2000
_ANNOUNCED = 20
"""Announcements that are tried before the last number is taken."""

_LETTER = re.compile(
    r"[(（][A-Z][)）]|选(?:择|项)?(?:是|为)?\s*[:：]?\s*[A-Z](?![A-Za-z])"
    r"|\b(?:[Oo]ption|[Cc]hoice)\s+(?:is\s+)?[A-Z]\b"
    r"|\b[A-Z](?= is (?:the )?(?:correct|right|answer))"
    r"|(?:(?<=\b[Ss]o )|(?<=\b[Hh]ence )|(?<=\b[Tt]hus ))[A-Z](?=\.?\s*$)"
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)|(?<!\\)[{}]")
_NOTED = re.compile(r"[(（][A-Z][)）](?=[\s.。*]*$)")
_CALCULATION = re.compile(r"<<[^<>\n]{0,200}(?:>>|$)")
_HASHES = re.compile(r"^[ \t]*#{4}[ \t]*(\S.*)$", re.MULTILINE)
_LAST_LINE = re.compile(
    r"^[\s*#>_]*(?:A|Ans|Answer|Final Answer|Result)[\s*_]*[:：][\s*_]*(\S.*)$", re.IGNORECASE
)
_HEADED = re.compile(
    r"^[ \t*#_]*(?:final\s+)?(?:answer|result)[ \t*_:：]*\n\s*(\S.*)$", re.IGNORECASE | re.MULTILINE
)
_FIELD = re.compile(
    r"""["'](?:\w{0,30}_)?answer["']\s*:\s*(?:"((?:[^"\\\n]|\\.)*+)"|([^\s,}"][^,}\n]*))"""
)
_THOUGHT = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_CHATTER = re.compile(
    r"[\s*_>]*(?:let me know|i hope|hope (?:this|that)|feel free|if you(?:'d| have| need| want)"
    r"|would you like|do you want|please (?:let|feel)|希望|如果(?:你|您)|如有)",
    re.IGNORECASE,
)
_CHATS = 3
"""Last lines that are looked at for what is said to the reader."""

_PHRASE = re.compile(
    r"(?<!to )\banswer(?:\s+(?:to|for|of)\b[^.\n:：=?!]{0,80}?)?(?:\s*\([^()\n]{0,30}\))?"
    r"[\s*_]{0,4}"
    r"(?:(?:is|equals|(?:would|will|should|must|has to|can only) be|comes to|=|:|：)(?![A-Za-z]))"
    r"|(?<!to )\banswers\s+(?:are|is)\b|\banswers\s*[:：]"
    r"|(?:最终|最后|正确)?答案[\s*_]{0,4}(?:应该|应|就)?(?:是|为|[:=：])|(?:^|[^\w])答\s*[:：]",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"\banswer (?:cannot|can't|can not|could not) be (?:determined|found|calculated|known)"
    r"|(?:无法|不能)(?:确定|得出|计算)(?:出)?答案",
    re.IGNORECASE,
)
_EQUATION = re.compile(
    r"(?:^|[\n。])[^\w\n。]*(?:so|thus|therefore|hence|所以|因此)?[\s,，$]*[A-Za-z]\s?=([^=\n]*)$",
    re.I,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|[。！？\n]+(?=.)")
_WORKED = re.compile(r"[=≈]\s*[^\w\n]{0,8}\d")
_HENCE = re.compile(r"(?:所以|因此|故)[^。\n]{0,40}?(?:是|为|等于|[=:：])")


def extract(cot: str, *, choices: Sequence[str] = ()) -> Answer | None:
    """Return the answer that `cot` states, or its last number, or None if it has neither.

    Args:
        cot: a chain of thought in English or Chinese; any text is allowed.
        choices: the options of a multiple-choice problem; an option named by letter is returned
            as that letter.
    """
    text = _to_the_point(_CALCULATION.sub("", _spoken(cot[-_LONGEST:])))
    for tail in _tails(text):
        if choices and (place := _named(tail, choices)) is not None:
            return Answer(letter(place))
        if (found := tidy(tail)) is not None:
            return Answer(found)
    return None if _UNKNOWN.search(text[-_TAIL:]) else _unannounced(text, choices)


def stated(text: str, *, choices: Sequence[str] = ()) -> Answer | None:
    """Return the answer that `text` presents as its result; None if it merely has numbers.

    Narrower than `extract`, for texts of which nobody says that they answer a problem: the answer
    is announced, or the text works with equations and its last sentence ends on a number.
    """
    spoken = _to_the_point(_CALCULATION.sub("", _spoken(text[-_LONGEST:])))
    if any(tidy(tail) is not None for tail in _tails(spoken)) or choices:
        return extract(text, choices=choices)
    closing = _SENTENCE.split(spoken.strip())[-1]
    if _WORKED.search(spoken) and last_number(closing[-_TAIL:]) is not None:
        return extract(text)
    return None


def _spoken(text: str) -> str:
    """What follows the model's thoughts; the thoughts themselves if nothing does."""
    thoughts = list(_THOUGHT.finditer(text))
    said = text[thoughts[-1].end() :] if thoughts else ""
    return said if said.strip() else text


def _to_the_point(text: str) -> str:
    """Leave out the last lines if they only address the reader."""
    text = text.rstrip()
    for _ in range(_CHATS):
        said, _, line = text.rpartition("\n")
        if not said.strip() or not _CHATTER.match(line[:_TAIL]):
            break
        text = said.rstrip()
    return text


def announced(line: str) -> str | None:
    """Return the answer that a printed line announces, as in "The answer is 18"."""
    found = list(_PHRASE.finditer(line))
    return tidy(line[found[-1].end() :]) if found else None


def _named(tail: str, choices: Sequence[str]) -> int | None:
    """The option that a tail begins with, as in `(B) because`, or notes, as in `14 (B)`."""
    line = plain_edges(tail.strip()[:_TAIL]).partition("\n")[0]
    noted = _NOTED.search(line)
    place = option(line, choices)
    return option(noted[0], choices) if place is None and noted else place


def _tails(text: str) -> Iterator[str]:
    """What stands where an answer is announced, the surest announcement first."""
    yield from _boxes(text)
    yield from _after_hashes(text)
    for pattern in (_FIELD, _HEADED):
        if places := list(pattern.finditer(text)):
            yield places[-1][1] or places[-1][2] if pattern is _FIELD else places[-1][1]
    lines = text.rstrip().rsplit("\n", 1)
    if found := _LAST_LINE.match(lines[-1][:_TAIL]):
        yield found[1]
    for found in reversed(list(_PHRASE.finditer(text))[-_ANNOUNCED:]):
        yield text[found.end() : found.end() + _TAIL]


def _boxes(text: str) -> Iterator[str]:
    r"""The contents of every closed `\boxed{}`, the last first."""
    opened: list[tuple[int, bool]] = []
    contents = []
    boxed = False
    for found in _BOX.finditer(text):
        if found[0] == "}":
            start, is_box = opened.pop() if opened else (0, False)
            if is_box:
                contents.append((start, found.start()))
        elif found[0] == "{":
            opened.append((found.end(), boxed))
        boxed = found[0] not in "{}"
    for start, end in sorted(contents, reverse=True)[:_ANNOUNCED]:
        if end - start <= _TAIL:
            yield text[start:end]


def _after_hashes(text: str) -> Iterator[str]:
    """`#### 18`; a Markdown heading looks the same, so words count in the last line only."""
    found = list(_HASHES.finditer(text))[-_ANNOUNCED:]
    for line in reversed(found):
        last = not text[line.end() :].strip()
        if last or quantity(line[1]) is not None:
            yield line[1]


def _equated(text: str) -> str | None:
    """The right side of a last line such as `x = 962 - 480`."""
    found = _EQUATION.search(text.rstrip()[-_TAIL:])
    return quantity(found[1].strip(" .。$")) if found else None


def _unannounced(text: str, choices: Sequence[str]) -> Answer | None:
    """The last option named, else the number it ends on, else what a last "hence" says."""
    letters = [option(found[0], choices) for found in _LETTER.finditer(text)] if choices else []
    if choices:
        letters.append(alone(text.rpartition("\n")[2][:_TAIL], choices))
    place = next((place for place in reversed(letters) if place is not None), None)
    if place is not None:
        return Answer(letter(place))
    number = _equated(text) or last_number(text[-_TAIL:]) or last_number(text)
    if number is not None:
        return Answer(number)
    hence = list(_HENCE.finditer(text))
    found = tidy(text[hence[-1].end() :]) if hence else None
    return None if found is None else Answer(found)
