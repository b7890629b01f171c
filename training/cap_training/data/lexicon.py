"""People and things that the synthetic problems are about."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, and the pronouns that stand for them.

    Attributes:
        first: how they are named when they first appear; `again`: from then on.
        plural: whether verbs take the plain form: I, we, you, the children.
    """

    first: str
    again: str
    he: str
    his: str
    him: str
    plural: bool = False


_PRONOUNS = {"m": ("he", "his", "him"), "f": ("she", "her", "her"), "n": ("they", "their", "them")}
_SPEAKER = (
    Person("I", "I", "I", "my", "me", plural=True),
    Person("we", "we", "we", "our", "us", plural=True),
    Person("you", "you", "you", "your", "you", plural=True),
)


def words(language: str) -> Mapping[str, tuple[str, ...]]:
    """Each kind of word, and the words: `singular/plural` where they differ."""
    text = resources.files("cap_training.data").joinpath("families", f"{language}_words.txt")
    kinds: dict[str, tuple[str, ...]] = {}
    for line in text.read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("//"):
            kind, _, rest = line.partition(":")
            known = kinds.get(kind.strip(), ())
            kinds[kind.strip()] = known + tuple(word.strip() for word in rest.split(","))
    return kinds


def people(
    kinds: Mapping[str, tuple[str, ...]], rng: random.Random, *, speaker: bool = True
) -> tuple[Person, ...]:
    """Draw four different people; the first one may be a trade or a group, or the `speaker`."""
    drawn: list[Person] = []
    while len(drawn) < 4:
        person = _person(kinds, rng, speaker=speaker and not drawn, others=bool(drawn))
        if person.first not in {other.first for other in drawn}:
            drawn.append(person)
    return tuple(drawn)


def _person(
    kinds: Mapping[str, tuple[str, ...]], rng: random.Random, *, speaker: bool, others: bool
) -> Person:
    kind = rng.random()
    if "woman" not in kinds:
        name = rng.choice(kinds["name"])
        return Person(name, name, name, name + "的", name)
    if speaker and kind < 0.1:
        return rng.choice(_SPEAKER)
    if kind < 0.22 and not others:
        trade = rng.choice(kinds["trade"])
        article = "an" if trade[0] in "aeio" else "a"
        first = rng.choice((f"{article} {trade}", f"the {trade}"))
        return Person(first, f"the {trade}", *_PRONOUNS[rng.choice("mf")])
    if kind < 0.28 and not others:
        group = rng.choice(kinds["group"])
        return Person(group, group, *_PRONOUNS["n"], plural=True)
    if kind < 0.36:
        gender = rng.choice("mf")
        kin = rng.choice(kinds["kin_man" if gender == "m" else "kin_woman"])
        return Person(kin, kin, *_PRONOUNS[gender])
    gender = rng.choice("mf")
    name = rng.choice(kinds["man" if gender == "m" else "woman"])
    if kind > 0.95:
        title = "Mr." if gender == "m" else rng.choice(("Mrs.", "Ms."))
        name = f"{title} {rng.choice(kinds['surname'])}"
    return Person(name, name, *_PRONOUNS[gender])
