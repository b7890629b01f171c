"""Problems that nobody wrote: a family, its words and numbers drawn, put into one of many wordings."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from cap_training.data import arithmetic
from cap_training.data.arithmetic import Node, SumError
from cap_training.data.grammar import Ask, Family, FamilyError, Wording, draw, expand, load
from cap_training.data.lexicon import Person, people, words
from cap_training.data.problems import SourceProblem
from cap_training.data.surface import Surface, sentences

FILES = {
    "en": ("en_change.txt", "en_groups.txt", "en_money.txt", "en_measure.txt",
           "en_then.txt"),
    "zh": ("zh.txt",),
}

_SLOT = re.compile(r"\{([A-Za-z_]\w*)(?:\.(\w+)|('s)|(#))?\}")
_AGREEMENT = re.compile(r"<?\b([A-Za-z]+)/([A-Za-z]+)(?:/([A-Za-z]+))?\b>?")
_OBJECT = re.compile(r"\b(with|to|for|from|of) (I|we)\b")
_TIMES = {2: ("twice", "two times", "double"), 3: ("three times", "3 times", "triple")}
_PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 6: "a sixth", 8: "an eighth",
          10: "a tenth"}  # fmt: skip
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_ATTEMPTS = 100
_COMPOSED = 0.3
"""Of the problems that can go on, how many do."""

_LARGER = 0.12
_THERE = re.compile(r"How many \{O\}.*(%left|%total|left\?|now)")
_GONE = re.compile(r"gone|gave|cost|before|taken|sold|need|pay|buy|percent|problems|lost")


@dataclass(frozen=True, slots=True)
class Draw:
    """What kind of problem to draw.

    Attributes:
        unseen: in a wording that training never shows, instead of one that it may show.
        family: the family's name. None: any.
        composed: what happens next to the things of a family, of another family.
            None: as it comes. True: also with a pair of families that training never shows,
            and no other.
    """

    unseen: bool = False
    family: str | None = None
    composed: bool | None = None


_ANY = Draw()


@dataclass(frozen=True, slots=True)
class Grammar:
    """All families of a language, and what their wordings are made of.

    Attributes:
        then: what may happen to the things of a family.
    """

    language: str
    families: tuple[Family, ...]
    then: tuple[Family, ...]
    macros: Mapping[str, Mapping[str, str]]
    kinds: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, language: str) -> Grammar:
        families: list[Family] = []
        then: list[Family] = []
        macros: dict[str, Mapping[str, str]] = {}
        for file in FILES[language]:
            found, file_macros = load(file)
            (then if file.endswith("_then.txt") else families).extend(found)
            macros |= {family.name: file_macros for family in found}
        return cls(language, tuple(families), tuple(then), macros, words(language))

    def problem(self, rng: random.Random, want: Draw = _ANY) -> SourceProblem:
        """Draw a problem.

        Raises:
            FamilyError: there is none of the wanted kind.
        """
        pool = [f for f in self.families if want.family in (None, f.name)]
        for _ in range(_ATTEMPTS):
            family = rng.choice(pool)
            ask = rng.choice(family.asks)
            then = self._next(family, ask, want, rng)
            if want.composed is not None and want.composed != (then is not None):
                continue
            try:
                return _Telling(self, family, ask, want, rng).tell(then)
            except (SumError, FamilyError):
                continue
        raise FamilyError(f"no problem found for {want}")

    def _next(
        self, family: Family, ask: Ask, want: Draw, rng: random.Random
    ) -> Family | None:
        if not self.then or want.composed is False or not _countable(family, ask):
            return None
        if want.composed is None and rng.random() > _COMPOSED:
            return None
        hidden = want.composed is True
        pool = [f for f in self.then if is_hidden(family, f) == hidden]
        return rng.choice(pool) if pool else None


def is_hidden(family: Family, then: Family) -> bool:
    """Whether training must not show this composition of two families."""
    return zlib.crc32(f"{family.name}+{then.name}".encode()) % 5 == 0


def _countable(family: Family, ask: Ask) -> bool:
    """Whether the answer is a number of things that are there, so that a story can go on."""
    text = ask.wordings[0].text
    return "O" in family.words and bool(_THERE.search(text)) and not _GONE.search(text)


class _Telling:
    """One problem in the making."""

    def __init__(
        self, grammar: Grammar, family: Family, ask: Ask, want: Draw, rng: random.Random
    ) -> None:
        self._grammar = grammar
        self._family = family
        self._ask = ask
        self._unseen = want.unseen
        self._rng = rng

    def tell(self, then: Family | None) -> SourceProblem:
        family, rng = self._family, self._rng
        known = draw(family, rng, larger=rng.random() < _LARGER)
        sum_ = _checked(self._ask.answer, known, {})
        scene = _Scene.of(family, self._grammar.kinds, known, rng)
        told = [self._say(scene, family, fact := self._pick(family.facts))]
        place = f"{family.facts.index(fact)}.{family.asks.index(self._ask)}"
        last, ask, name = family, self._ask, family.name
        if then is not None:
            value = arithmetic.evaluate(sum_)
            if value.denominator != 1:
                raise FamilyError("no number of things")
            more = draw(then, rng, given={"r": value})
            ask = rng.choice(then.asks)
            sum_ = _checked(ask.answer, more, {"r": sum_})
            scene.know(more)
            told.append(self._say(scene, then, fact := self._pick(then.facts)))
            place += f"+{then.facts.index(fact)}.{then.asks.index(ask)}"
            last, name = then, f"{family.name}+{then.name}"
        wording = self._pick(ask.wordings)
        question = self._say(scene, last, wording)
        return SourceProblem(
            question=self._dressed(scene, told, question),
            sum=sum_,
            origin="synthetic",
            language=self._grammar.language,
            family=name,
            wording=f"{place}.{ask.wordings.index(wording)}",
            unseen=self._unseen,
            unit=scene.unit,
        )

    def _pick(self, wordings: tuple[Wording, ...]) -> Wording:
        pool = [wording for wording in wordings if wording.unseen == self._unseen]
        if not pool:
            raise FamilyError("no such wording")
        return self._rng.choice(pool)

    def _say(self, scene: _Scene, family: Family, wording: Wording) -> str:
        return scene.say(expand(wording.text, self._rng, self._grammar.macros[family.name]))

    def _dressed(self, scene: _Scene, told: list[str], question: str) -> str:
        if self._grammar.language == "zh":
            return "".join((*told, question))
        surface = Surface(self._rng, self._grammar.kinds, scene.names, scene.say)
        facts = [sentence for text in told for sentence in sentences(text)]
        return surface.dress(facts, question, plain=self._unseen)


def _checked(text: str, known: Mapping[str, Fraction], made: Mapping[str, Node]) -> Node:
    leaves = {name: arithmetic.number(value) for name, value in known.items()}
    sum_ = arithmetic.parse(text, leaves | dict(made))
    value = arithmetic.evaluate(sum_)
    if value < 0 or value.denominator > 100:
        raise FamilyError("no sensible answer")
    return sum_


class _Scene:
    """Who and what a problem is about; fills the slots of its wordings."""

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
    ) -> _Scene:
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
        if name == "x":
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
            plain = f"{self._in(whole)} times"
            return self._rng.choice((*_TIMES.get(whole, (plain,)), _TIMES.get(whole, (plain,))[0]))
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


def in_words(value: int) -> str:
    """A whole number from 0 to 99 in English words."""
    if value < 20:
        return _SMALL[value]
    ten = _TENS[value // 10]
    return ten if value % 10 == 0 else f"{ten}-{_SMALL[value % 10]}"


def _plural(thing: str) -> str:
    one, _, many = thing.partition("/")
    if many or not one.isascii():
        return many or one
    return one if one.endswith(("s", "rice", "sugar")) else one + "s"


def _article(word: str) -> str:
    return "an" if word[0] in "aeio" or word.startswith(("um", "ug")) else "a"
