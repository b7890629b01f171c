"""Which of the offered choices a letter names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cap_server.answers.plain import plain

_LETTER = re.compile(
    r"(?:(?:the\s+)?(?:correct\s+|right\s+)?(?:options?|choices?|answer)\s*(?:is\s*)?:?\s*"
    r"|应?选(?:择|项)?(?:是|为)?\s*:?\s*)?"
    r"(?:[(\[]\s*([A-Z])\s*[)\]]|([A-Z])(?=\s*$|\s*[.):,、]|\s*(?:is|was)\b|\s*选?项))"
    r"|(?:(?:the\s+)?(?:correct\s+|right\s+)?(?:option|choice)\s+|应?选(?:择|项)?(?:是|为)?\s*:?\s*)([A-Z])\b",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\s*[(\[（]?([A-Za-z])[)\].:、．：）]\s*(?=\S)")
_ALONE = re.compile(r"[(\[]?([A-Z])(?:[)\].:,、]+(.*))?")
_LONGEST = 2000


def option(text: str, choices: Sequence[str]) -> int | None:
    """Return the place of the choice that `text` names by letter: `(B)`, `B. 14`, `选B`."""
    found = _LETTER.match(_bare(text))
    if found is None:
        return None
    place = ord((found[1] or found[2] or found[3]).upper()) - ord("A")
    return place if place < len(choices) else None


def alone(line: str, choices: Sequence[str]) -> int | None:
    """Return the place of the choice that is all of `line`: `C`, `**(C)**`, `C. 16`."""
    found = _ALONE.fullmatch(_bare(line))
    place = ord(found[1]) - ord("A") if found else len(choices)
    if found is None or place >= len(choices):
        return None
    rest, choice = (found[2] or "").strip(" .*_"), unlabelled(choices)[place].strip(" .")
    return place if not rest or rest.casefold() == _bare(choice).casefold() else None


def letter(place: int) -> str:
    return chr(ord("A") + place)


def unlabelled(choices: Sequence[str]) -> list[str]:
    """Return the choices without the letters before them, if every one has its own letter."""
    found = [_LABEL.match(choice) for choice in choices]
    own = [match and match[1].upper() == letter(place) for place, match in enumerate(found)]
    if not all(own):
        return list(choices)
    return [choice[match.end() :] for choice, match in zip(choices, found, strict=True) if match]


def _bare(text: str) -> str:
    return plain(text[:_LONGEST]).strip(" *_`\"'")
