"""Problems that nobody wrote: a family, its words and numbers, in one of many wordings."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import sqrt

from cap_training.data import arithmetic
from cap_training.data.arithmetic import Node, SumError
from cap_training.data.grammar import Ask, Family, FamilyError, Wording, draw, expand, load
from cap_training.data.lexicon import words
from cap_training.data.problems import SourceProblem
from cap_training.data.scene import Scene
from cap_training.data.surface import Surface, sentences

FILES = {
    "en": (
        "en_change.txt",
        "en_groups.txt",
        "en_money.txt",
        "en_measure.txt",
        "en_then.txt",
        "en_change_more.txt",
        "en_change_whole.txt",
        "en_groups_more.txt",
        "en_money_more.txt",
        "en_measure_more.txt",
        "en_steps.txt",
        "en_shop.txt",
        "en_life.txt",
        "en_shapes.txt",
        "en_plain.txt",
        "en_stories.txt",
        "en_distract.txt",
        "en_forms.txt",
        "en_units_more.txt",
        "en_groups_whole.txt",
        "en_money_whole.txt",
        "en_fractions.txt",
        "en_time.txt",
        "en_stories_more.txt",
        "en_decide.txt",
        "en_multi.txt",
        "en_workbook.txt",
        "en_relations.txt",
        "en_add_subtract.txt",
        "en_chat.txt",
        "en_shelves.txt",
        "en_equal_groups.txt",
        "en_asked.txt",
        "en_more_then.txt",
    ),
    "zh": ("zh.txt",),
}

_ATTEMPTS = 400
_COMPOSED = 0.3
"""Of the problems that can go on, how many do."""

_LARGER = 0.12
_WHOLE = 0.3
"""Of the problems of families that have some in one piece, how many are those, at least."""

_THERE = re.compile(r"How many \{O\}.*(%left|%total|left\?|now)")
_GONE = re.compile(r"gone|gave|cost|before|taken|sold|need|pay|buy|percent|problems|lost")


@dataclass(frozen=True, slots=True)
class Draw:
    """What kind of problem to draw.

    Attributes:
        unseen: in a wording that training never shows, instead of one that it may show.
        half: 0 or 1, of the wordings; None: all of them. What `unseen` of the one half chooses,
            `unseen` of the other measures.
        family: the family's name. None: any.
        composed: what happens next to the things of a family, of another family.
            None: as it comes. True: also with a pair of families that training never shows,
            and no other.
    """

    unseen: bool = False
    half: int | None = None
    family: str | None = None
    composed: bool | None = None


_ANY = Draw()


@dataclass(frozen=True, slots=True)
class Grammar:
    """All families of a language, and what their wordings are made of.

    Attributes:
        then: what may happen to the things of a family.
        weights: how often each family comes, added up: those that can be told in many ways more
            often. Empty: all alike.
    """

    language: str
    families: tuple[Family, ...]
    then: tuple[Family, ...]
    macros: Mapping[str, Mapping[str, str]]
    kinds: Mapping[str, tuple[str, ...]]
    weights: tuple[float, ...] = ()

    @classmethod
    def of(cls, language: str) -> Grammar:
        families: list[Family] = []
        then: list[Family] = []
        macros: dict[str, Mapping[str, str]] = {}
        for file in FILES[language]:
            found, file_macros = load(file)
            (then if file.endswith("_then.txt") else families).extend(found)
            for family in found:
                macros[family.name] = {**file_macros, **macros.get(family.name, {})}
        known = _joined(families)
        weights = tuple(accumulate(sqrt(family.size) for family in known))
        return cls(language, known, _joined(then), macros, words(language), weights)

    def problem(self, rng: random.Random, want: Draw = _ANY) -> SourceProblem:
        """Draw a problem.

        Raises:
            FamilyError: there is none of the wanted kind.
        """
        pool = [f for f in self.families if want.family in (None, f.name)]
        weights = self.weights if want.family is None else ()
        for _ in range(_ATTEMPTS):
            family = rng.choices(pool, cum_weights=weights or None)[0]
            ask = rng.choice(family.asks)
            then = self._next(family, ask, want, rng)
            if want.composed is not None and want.composed != (then is not None):
                continue
            try:
                return _Telling(self, family, ask, want, rng).tell(then)
            except (SumError, FamilyError):
                continue
        raise FamilyError(f"no problem found for {want}")

    def _next(self, family: Family, ask: Ask, want: Draw, rng: random.Random) -> Family | None:
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
    if family.words.get("O") == "people" or not ask.wordings:
        return False  # people are not sold, packed or broken
    text = ask.wordings[0].text
    return "O" in family.words and bool(_THERE.search(text)) and not _GONE.search(text)


def _joined(families: list[Family]) -> tuple[Family, ...]:
    """Each family once, with what other files add to it.

    Raises:
        FamilyError: they add to none.
    """
    found = {family.name: family for family in families if not family.more}
    for family in families:
        if family.more and family.name not in found:
            raise FamilyError(f"{family.name}: adds to no family")
        if family.more:
            found[family.name] = found[family.name].with_more(family)
    return tuple(found.values())


class _Telling:
    """One problem in the making."""

    def __init__(
        self, grammar: Grammar, family: Family, ask: Ask, want: Draw, rng: random.Random
    ) -> None:
        self._grammar = grammar
        self._family = family
        self._ask = ask
        self._unseen, self._half = want.unseen, want.half
        self._rng = rng

    def tell(self, then: Family | None) -> SourceProblem:
        family, rng = self._family, self._rng
        known = draw(family, rng, larger=rng.random() < _LARGER)
        sum_ = _checked(self._ask.answer, known, {})
        scene = Scene.of(family, self._grammar.kinds, known, rng)
        if then is None and (whole := self._whole()) is not None:
            told = sentences(self._say(scene, family, whole))
            at = f"w.{family.asks.index(self._ask)}.{self._ask.wholes.index(whole)}"
            return self._problem(scene, family.name, at, sum_, told[:-1], told[-1])
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
        at = f"{place}.{ask.wordings.index(wording)}"
        return self._problem(scene, name, at, sum_, told, question)

    def _problem(
        self, scene: Scene, name: str, at: str, sum_: Node, told: list[str], question: str
    ) -> SourceProblem:
        return SourceProblem(
            question=self._dressed(scene, told, question),
            sum=sum_,
            origin="synthetic",
            language=self._grammar.language,
            family=name,
            wording=at,
            unseen=self._unseen,
            unit=scene.unit,
        )

    def _whole(self) -> Wording | None:
        """Now and then a problem in one piece, where the family has any."""
        pool = self._usable(self._ask.wholes)
        parts = self._usable(self._family.facts) if self._usable(self._ask.wordings) else []
        share = max(_WHOLE, len(pool) / (len(pool) + len(parts))) if pool else 0
        return self._rng.choice(pool) if self._rng.random() < share else None

    def _pick(self, wordings: tuple[Wording, ...]) -> Wording:
        pool = self._usable(wordings)
        if not pool:
            raise FamilyError("no such wording")
        return self._rng.choice(pool)

    def _usable(self, wordings: tuple[Wording, ...]) -> list[Wording]:
        found = [wording for wording in wordings if wording.unseen == self._unseen]
        return [each for each in found if self._half in (None, zlib.crc32(each.text.encode()) % 2)]

    def _say(self, scene: Scene, family: Family, wording: Wording) -> str:
        return scene.say(expand(wording.text, self._rng, self._grammar.macros[family.name]))

    def _dressed(self, scene: Scene, told: list[str], question: str) -> str:
        if self._grammar.language == "zh":
            return "".join((*told, question))
        facts = [sentence for text in told for sentence in sentences(text)]
        if not facts:
            return question
        surface = Surface(self._rng, self._grammar.kinds, scene.names, scene.say)
        asked = any(mark in fact for fact in facts for mark in ("?", "If ", " if "))
        plain = self._unseen or asked or " if " in question or not question.endswith("?")
        return surface.dress(facts, question, plain=plain)


def _checked(text: str, known: Mapping[str, Fraction], made: Mapping[str, Node]) -> Node:
    leaves = {name: arithmetic.number(value) for name, value in known.items()}
    sum_ = arithmetic.parse(text, leaves | dict(made))
    value = arithmetic.evaluate(sum_)
    if value < 0 or value.denominator > 100:
        raise FamilyError("no sensible answer")
    return sum_
