"""Who and what a synthetic problem is about."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from fractions import Fraction

from cap_training.data.grammar import Family
from cap_training.data.lexicon import Person, people
from cap_training.data.number_words import in_words

_SLOT = re.compile(r"\{([A-Za-z_]\w*)(?:\.(\w+)|('s)|(#))?\}")
_AGREEMENT = re.compile(r"<?\b([A-Za-z]+)/([A-Za-z]+)(?:/([A-Za-z]+))?\b>?")
_OBJECT = re.compile(r"\b(with|to|for|from|of) (I|we)\b")
_TIMES = {2: ("twice", "two times", "double"), 3: ("three times", "3 times", "triple")}
_PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 6: "a sixth", 8: "an eighth",
          10: "a tenth"}  # fmt: skip


class Scene:
    """The people, things and numbers of a problem; fills the slots of its wordings."""

    def __init__(
        self,
        persons: Mapping[str, Person],
        things: Mapping[str, str],
        known: Mapping[str, Fraction],
        rng: random.Random,
    ) -> None:
        self._persons = persons
        self._things = things
        self._known = known
        self._rng = rng
        self._met: set[str] = set()
        self._in_words = persons["P"].his.isascii() and rng.random() < 0.2
        self._commas = rng.random() < 0.25

    @classmethod
    def of(
        cls,
        family: Family,
        kinds: Mapping[str, tuple[str, ...]],
        known: Mapping[str, Fraction],
        rng: random.Random,
    ) -> Scene:
        persons = dict(zip("PQRS", people(kinds, rng), strict=True))
        wanted = _DEFAULTS | dict(family.words)
        things: dict[str, str] = {}
        for slot, kind in wanted.items():
            pool = [w for name in kind.split("|") for w in kinds.get(name, ())]
            pool = [w for w in pool if w not in things.values()] or pool
            if pool:
                things[slot] = rng.choice(pool)
        if (colours := family.words.get("C")) is not None:
            pool = list(kinds[rng.choice(colours.split("|"))])
            things |= dict(zip(("C", "C2", "C3"), rng.sample(pool, 3), strict=True))
        things["speed"], things["dist"] = rng.choice(_DISTANCES)
        return cls(persons, things, known, rng)

    def know(self, more: Mapping[str, Fraction]) -> None:
        """Add numbers that come later in the story."""
        self._known = {**self._known, **more}

    @property
    def names(self) -> frozenset[str]:
        """Words that stay capital inside a sentence."""
        return frozenset(person.first.split()[0] for person in self._persons.values())

    @property
    def unit(self) -> str:
        """The things that are counted, if any."""
        return _plural(self._things["O"]) if "O" in self._things else ""

    def say(self, text: str) -> str:
        """Fill a wording's slots and let its verbs agree with the first person."""
        person = self._persons["P"]

        def verb(found: re.Match[str]) -> str:
            first, second, third = found[1], found[2], found[3]
            if third and person.first == "I":
                return third
            one, many = (first, second) if first.endswith("s") else (second, first)
            return many if person.plural else one

        filled = _SLOT.sub(self._fill, _AGREEMENT.sub(verb, text))
        filled = _OBJECT.sub(lambda m: f"{m[1]} {'me' if m[2] == 'I' else 'us'}", filled)
        filled = re.sub(r" (?=[.,?!;])", "", filled)
        return re.sub(r"([.?!] |^)([a-z])", lambda m: m[1] + m[2].upper(), filled)

    def _fill(self, found: re.Match[str]) -> str:
        name, part, owner, exact = found.groups()
        if name in self._persons:
            return self._person(name, part, owner=bool(owner))
        if name in self._known:
            return self._number(self._known[name], part, exact=bool(exact))
        if name in ("x", "any"):  # a number that does not matter
            return str(self._rng.randrange(2, 60))
        if name == "o":
            return self._things["O"][0]
        thing = self._things[name]
        if part == "1":
            return thing.split("/")[0]
        if part == "a":
            one = thing.split("/")[0]
            return f"{_article(one)} {one}"
        return thing if name in _AS_IS else _plural(thing)

    def _person(self, slot: str, part: str | None, *, owner: bool) -> str:
        person = self._persons[slot]
        if part == "himself":
            return {"her": "herself", "him": "himself"}.get(person.him, "themselves")
        if part is not None:
            return str(getattr(person, part))
        name = person.again if slot in self._met else person.first
        self._met.add(slot)
        if owner:
            if person.plural and person.first in ("I", "we", "you"):
                return person.his
            return name + ("'" if name.endswith("s") and person.plural else "'s")
        return name

    def _number(self, value: Fraction, part: str | None, *, exact: bool) -> str:
        if part == "times":
            whole = int(value)
            ways: tuple[str, ...] = _TIMES.get(whole, (f"{self._in(whole)} times",))
            return self._rng.choice((*ways, ways[0]))
        if part in ("part", "th"):
            return _PARTS.get(int(value), f"1/{value}")
        if value.denominator != 1:
            text = f"{float(value):.4f}".rstrip("0")
            return text + "0" if len(text.split(".")[1]) == 1 else text
        return str(value) if exact and value < 1000 else self._in(int(value), exact=exact)

    def _in(self, value: int, *, exact: bool = False) -> str:
        if self._in_words and not exact and value < 100 and (value < 20 or value % 10 == 0):
            return in_words(value)
        return f"{value:,}" if self._commas and value >= 1000 else str(value)


_DEFAULTS = {
    "D": "day", "D2": "day", "D3": "day", "W": "place", "M": "money", "B": "boxes",
    "V": "vehicles", "C": "colour", "C2": "colour", "C3": "colour", "city": "city",
    "unitlen": "unitlen", "unitwt": "unitwt", "L": "liquid", "G": "goods", "U": "thing",
    "ingredient": "ingredient", "T": "people",
}  # fmt: skip
_AS_IS = frozenset(
    ("D", "D2", "D3", "W", "C", "C2", "C3", "city", "L", "ingredient", "F", "speed", "dist")
)
_DISTANCES = (
    ("miles per hour", "miles"), ("km/h", "km"), ("kilometers per hour", "kilometers"),
    ("miles an hour", "miles"), ("mph", "miles"), ("km per hour", "km"),
)  # fmt: skip


def _plural(thing: str) -> str:
    one, _, many = thing.partition("/")
    if many or not one.isascii():
        return many or one
    return one if one.endswith(("s", "rice", "sugar")) else one + "s"


def _article(word: str) -> str:
    return "an" if word[0] in "aeio" or word.startswith(("um", "ug")) else "a"
