"""Nonsense questions: words that say nothing, so that only the CoT is left to go by.

A model that understands every question of its training never needs a CoT there, and does not learn
what one is worth. Here the question's words are exchanged for others; its numbers stay. A program
for it can follow the CoT, work its sums out anew, and put a misread number right, as it should
for any question that the model does not understand.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from cap_training.data.mentions import mentions

_WORD = re.compile(r"[A-Za-z]{3,}")
_KEPT = frozenset(("half", "twice", "double", "triple", "third", "quarter", "fifth", "dozen"))
"""Words that are numbers, beside those that `mentions` knows."""

_POOL = 4096
_LEAST, _MOST = 0.4, 1.0
_ONSETS = ("b", "bl", "c", "d", "f", "g", "gr", "j", "k", "l", "m", "n", "p", "r", "s", "st", "t",
           "tr", "v", "w", "z")  # fmt: skip
_RIMES = ("a", "e", "i", "o", "u", "ab", "ack", "an", "ell", "en", "ick", "im", "oft", "on", "ud")
_MADE_UP = 0.3
"""Of the exchanged words, how many become words that no language has."""


class Nonsense:
    """Exchanges words of a question for those of questions seen before, or for made-up ones."""

    def __init__(self) -> None:
        self._pool: list[str] = []

    def see(self, question: str, rng: random.Random) -> None:
        """Remembers the words of a question, but for its numbers."""
        for word in _WORD.findall(question):
            if _is_number(word):
                continue
            if len(self._pool) < _POOL:
                self._pool.append(word)
            else:
                self._pool[rng.randrange(_POOL)] = word

    def of(self, question: str, rng: random.Random) -> str:
        """The question with most of its words exchanged; the same word always for the same."""
        share = rng.uniform(_LEAST, _MOST)
        others: dict[str, str] = {}

        def other(found: re.Match[str]) -> str:
            word, known = found[0], found[0].lower()
            if _is_number(word):
                return word
            if known not in others:
                others[known] = known if rng.random() > share else _word(self._pool, rng)
            new = others[known]
            if new == known:
                return word
            return new.capitalize() if word[0].isupper() else new

        return _WORD.sub(other, question)


def _is_number(word: str) -> bool:
    return word.lower() in _KEPT or bool(mentions(word))


def _word(pool: Sequence[str], rng: random.Random) -> str:
    if pool and rng.random() > _MADE_UP:
        return rng.choice(pool).lower()
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_RIMES) for _ in range(rng.choice((1, 2, 2, 3)))
    )
