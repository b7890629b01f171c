"""Families of problems: read from text files, in a small language for wordings.

A family is numbers, facts and questions. The language is told in `docs/training-data.md`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib import resources

from cap_training.data.arithmetic import SumError, evaluate, number, parse

_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")
_MACRO = re.compile(r"%([a-z_]+)")
_SPEC = re.compile(r"([a-z]\w*)=(\S+)")
_SIGNS = ("!=", "<=", "<", "==")
_ATTEMPTS = 400


class FamilyError(ValueError):
    """A family that cannot be read, or whose numbers cannot be drawn."""


@dataclass(frozen=True, slots=True)
class Wording:
    """One way to say something.

    Attributes:
        unseen: kept out of training, to measure what the model makes of wordings it never saw.
    """

    text: str
    unseen: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """What may be asked about the facts, and the sum that answers it.

    Attributes:
        wordings: questions that follow any of the family's facts.
        wholes: problems in one piece, facts and question in whatever order.
    """

    answer: str
    wordings: tuple[Wording, ...]
    wholes: tuple[Wording, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """Attributes.

    language: `en` or `zh`.
    draws: each number's name and range, in an order in which later ones may use earlier ones.
    where: sums that must not be 0, comparisons that must hold.
    words: kinds of things that the wordings speak of.
    more: whether these are only more wordings for a family of another file.
    """

    name: str
    language: str
    draws: tuple[tuple[str, str], ...]
    where: tuple[str, ...]
    words: Mapping[str, str]
    facts: tuple[Wording, ...]
    asks: tuple[Ask, ...]
    more: bool = False

    @property
    def size(self) -> int:
        """In how many lines it is told."""
        return len(self.facts) + sum(len(ask.wordings) + len(ask.wholes) for ask in self.asks)

    def with_more(self, other: Family) -> Family:
        """This family and what another file adds to it; what stood before keeps its place."""
        asks = {ask.answer: ask for ask in self.asks}
        for ask in other.asks:
            old = asks.get(ask.answer, Ask(ask.answer, ()))
            asks[ask.answer] = Ask(ask.answer, old.wordings + ask.wordings, old.wholes + ask.wholes)
        return replace(
            self,
            draws=self.draws + other.draws,
            where=self.where + other.where,
            words={**other.words, **self.words},
            facts=self.facts + other.facts,
            asks=tuple(asks.values()),
        )


def load(file: str) -> tuple[tuple[Family, ...], Mapping[str, str]]:
    """The families and macros of a file beside this one."""
    text = resources.files("cap_training.data").joinpath("families", file).read_text("utf-8")
    return read(text, language=file.split("_")[0].split(".")[0])


def read(text: str, *, language: str) -> tuple[tuple[Family, ...], Mapping[str, str]]:
    """Read families.

    Raises:
        FamilyError: a line means nothing, or a family lacks facts or questions.
    """
    macros: dict[str, str] = {}
    families: list[Family] = []
    for block in re.split(r"\n(?=@\+? )", "\n" + text):
        lines = [line.strip() for line in block.splitlines()]
        lines = [line for line in lines if line and not line.startswith("//")]
        if lines and lines[0].startswith(("@ ", "@+ ")):
            families.append(_family(lines, language))
        else:
            macros |= dict(_macro(line) for line in lines)
    return tuple(families), macros


def _macro(line: str) -> tuple[str, str]:
    name, mark, text = line.partition(" = ")
    if not mark or not name.startswith("%"):
        raise FamilyError(line)
    return name[1:], text


def _family(lines: list[str], language: str) -> Family:
    mark, _, name = lines[0].partition(" ")
    draws: list[tuple[str, str]] = []
    where: list[str] = []
    words: dict[str, str] = {}
    facts: list[Wording] = []
    asks: list[tuple[str, list[Wording], list[Wording]]] = []
    for line in lines[1:]:
        key, _, rest = line.partition(" ")
        match key:
            case "let":
                draws += _SPEC.findall(rest)
            case "where":
                where += [_rule(name, part.strip()) for part in rest.split(",")]
            case "with":
                words |= dict(part.split("=", 1) for part in rest.split())
            case "f" | "f!":
                facts.append(Wording(rest, unseen=key.endswith("!")))
            case "=":
                asks.append((rest, [], []))
            case "q" | "q!" if asks:
                asks[-1][1].append(Wording(rest, unseen=key.endswith("!")))
            case "w" | "w!" if asks:
                asks[-1][2].append(Wording(rest, unseen=key.endswith("!")))
            case _:
                raise FamilyError(f"{name}: {line}")
    lacking = mark == "@" and not all(
        wholes or (facts and wordings) for _, wordings, wholes in asks
    )
    if (mark == "@" and not asks) or lacking:
        raise FamilyError(f"{name}: no facts or no questions")
    return Family(
        name,
        language,
        tuple(draws),
        tuple(where),
        words,
        tuple(facts),
        tuple(Ask(answer, tuple(wordings), tuple(wholes)) for answer, wordings, wholes in asks),
        more=mark == "@+",
    )


def expand(text: str, rng: random.Random, macros: Mapping[str, str]) -> str:
    """Pick one of every `[this|that]`; `%name` stands for a macro."""
    while _MACRO.search(text):
        text = _MACRO.sub(lambda m: macros[m[1]], text)
    while (found := _ALTERNATIVES.search(text)) is not None:
        chosen = rng.choice(found[1].split("|"))
        text = text[: found.start()] + chosen + text[found.end() :]
    return re.sub(r"  +", " ", text).strip()


def draw(
    family: Family,
    rng: random.Random,
    *,
    larger: bool = False,
    given: Mapping[str, Fraction] | None = None,
) -> dict[str, Fraction]:
    """Numbers that make a sane problem, beside those that are `given`.

    With `larger`, whole numbers may be ten times as large as usual.

    Raises:
        FamilyError: none were found.
    """
    for _ in range(_ATTEMPTS):
        known = dict(given or {})
        try:
            for name, spec in family.draws:
                known[name] = _pick(spec, known, rng, larger=larger)
            if all(_holds(rule, known) for rule in family.where):
                return known
        except (SumError, IndexError, ValueError):
            continue
    raise FamilyError(f"{family.name}: no numbers found")


def _pick(
    spec: str, known: Mapping[str, Fraction], rng: random.Random, *, larger: bool
) -> Fraction:
    if "," in spec:
        return Fraction(rng.choice(spec.split(",")))
    low, dots, rest = spec.partition("..")
    if not dots:
        return value_of(spec, known)
    high, _, pace = rest.partition(":")
    start, end, by = value_of(low, known), value_of(high, known), Fraction(pace or "1")
    if larger and high.isdecimal() and by == 1 and end >= 15:
        end *= 10
    return start + by * rng.randrange(int((end - start) / by) + 1)


def _rule(name: str, text: str) -> str:
    if ">" in text or not any(sign in text for sign in _SIGNS):
        raise FamilyError(f"{name}: where {text}: one of {' '.join(_SIGNS)} is allowed")
    return text


def _holds(rule: str, known: Mapping[str, Fraction]) -> bool:
    for sign in _SIGNS:
        left, found, right = rule.partition(sign)
        if found:
            a, b = value_of(left, known), value_of(right, known)
            return {"!=": a != b, "<=": a <= b, "<": a < b, "==": a == b}[sign]
    raise FamilyError(rule)


def value_of(text: str, known: Mapping[str, Fraction]) -> Fraction:
    return evaluate(parse(text, {name: number(value) for name, value in known.items()}))
