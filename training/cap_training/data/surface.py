"""How the sentences of an English problem are joined, opened and padded."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

_BREAK = re.compile(r"(?<=[.!?;])(?<!Mr\.)(?<!Ms\.)(?<!Mrs\.) (?=[A-Z])")
_NOT_AFTER_IF = ("If ", "Then ", "After ", "Later", "Next", "The next", "A week", "When", "Now")
_CAPITAL = re.compile(
    r"^(I|Mr\.|Mrs\.|Ms\.|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)\b"
)


def sentences(text: str) -> list[str]:
    return _BREAK.split(text)


class Surface:
    """Dresses a problem's sentences in one of many ways that leave its answer as it is.

    Args:
        names: words that keep their capital inside a sentence.
        say: fills the slots of a remark.
    """

    def __init__(
        self,
        rng: random.Random,
        kinds: Mapping[str, tuple[str, ...]],
        names: frozenset[str],
        say: Callable[[str], str],
    ) -> None:
        self._rng = rng
        self._kinds = kinds
        self._names = names
        self._say = say

    def dress(self, facts: Sequence[str], question: str, *, plain: bool = False) -> str:
        """Join facts and question; `plain` leaves all sentences as they are, but may add some."""
        told = list(facts)
        if not plain:
            self._join(told)
            self._open(told)
        self._pad(told)
        text = self._ask(told, question, plain=plain)
        return text.lower() if not plain and self._chance(0.04) else text

    def _chance(self, share: float) -> bool:
        return self._rng.random() < share

    def _join(self, told: list[str]) -> None:
        if len(told) < 2 or not self._chance(0.2):
            return
        at = self._rng.randrange(len(told) - 1)
        first, second = told[at], told[at + 1]
        if first.endswith(".") and second.endswith("."):
            joint = self._rng.choice((" and ", ", and ", "; ", ", "))
            told[at : at + 2] = [first[:-1] + joint + self._lower(second)]

    def _open(self, told: list[str]) -> None:
        if self._chance(0.1) and not told[0].startswith(_NOT_AFTER_IF):
            opening = self._say(self._rng.choice(self._kinds["opening"]))
            comma = "" if opening.endswith("that") else ","
            told[0] = f"{opening}{comma} {self._lower(told[0])}"

    def _pad(self, told: list[str]) -> None:
        for share, kind in ((0.07, "chatter"), (0.22, "aside")):
            if self._chance(share) and told[-1].endswith("."):
                remark = self._say(self._rng.choice(self._kinds[kind]))
                told.insert(self._rng.randrange(len(told)) + 1, remark)

    def _ask(self, told: list[str], question: str, *, plain: bool) -> str:
        last = told[-1]
        if last.endswith(","):
            return " ".join((*told[:-1], f"{last} {self._lower(question)}"))
        if plain or last.startswith(_NOT_AFTER_IF) or not self._chance(0.18):
            return " ".join((*told, question))
        if self._chance(0.35):
            return " ".join((*told[:-1], f"If {self._lower(last)}", question))
        joined = f"If {self._lower(last)[:-1]}, {self._lower(question)}"
        return " ".join((*told[:-1], joined))

    def _lower(self, sentence: str) -> str:
        first = re.split(r"['\s,]", sentence)[0]
        if first in self._names or _CAPITAL.match(sentence):
            return sentence
        return sentence[0].lower() + sentence[1:]
