"""When two answers are the same, as far as that needs no symbolic mathematics."""

from __future__ import annotations

from collections.abc import Iterable

from cap_server.answers.formulas import Formula
from cap_server.answers.moments import Moment, same_moment
from cap_server.answers.numbers import Number, same_number
from cap_server.answers.reading import Meaning, Members, Ratio, Words, read, value
from cap_server.domain import Answer

_MEMBERS = 1000
_MATCHED = 40
"""Members of a set up to which every pair may be compared."""

_DEPTH = 8


def same(a: Answer, b: Answer) -> bool | None:
    """Return whether two answers mean the same; None if only symbolic mathematics can tell.

    Symmetric, and true of every answer with itself unless it is empty.
    """
    left, right = a.text.strip(), b.text.strip()
    if not left or not right:
        return False
    if left == right:
        return True
    return _any(_same_text(x, y, depth=0) for x in _forms(a) for y in _forms(b))


def _forms(answer: Answer) -> tuple[str, ...]:
    return (answer.text,) if answer.latex is None else (answer.text, answer.latex)


def _same_text(a: str, b: str, *, depth: int) -> bool | None:
    if depth > _DEPTH:
        return a == b
    return _same_meanings(read(a), read(b), depth=depth)


def _same_meanings(a: tuple[Meaning, ...], b: tuple[Meaning, ...], *, depth: int) -> bool | None:
    return _any(_same(x, y, depth=depth) for x in a for y in b)


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    verdict: bool | None = False
    for each in verdicts:
        if each:
            return True
        verdict = None if each is None else verdict
    return verdict


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    verdict: bool | None = True
    for each in verdicts:
        if each is False:
            return False
        verdict = None if each is None else verdict
    return verdict


def _same(a: Meaning, b: Meaning, *, depth: int) -> bool | None:
    match a, b:
        case Number(), Number():
            return same_number(a, b)
        case Moment(), Moment():
            return same_moment(a, b)
        case Words(), Words():
            return a.folded == b.folded
        case Members(), Members():
            return _same_members(a, b, depth=depth)
        case Ratio(), _:
            return _same_ratio(a, b)
        case _, Ratio():
            return _same_ratio(b, a)
        case (Formula(), _) | (_, Formula()):
            return _same_formula(a, b)
    return False


def _same_ratio(ratio: Ratio, other: Meaning) -> bool:
    if isinstance(other, Ratio):
        pairs = zip(ratio.terms, other.terms, strict=False)
        same_length = len(ratio.terms) == len(other.terms)
        a, b = sum(map(abs, ratio.terms)), sum(map(abs, other.terms))
        return same_length and all(x * b == y * a for x, y in pairs)
    number = value(ratio)
    return number is not None and isinstance(other, Number) and same_number(number, other)


def _same_formula(a: Meaning, b: Meaning) -> bool | None:
    """Words are no formula, and what leaves a letter open is no number."""
    if isinstance(a, Formula) and isinstance(b, Formula):
        return True if a.text == b.text else None
    formula, other = (a, b) if isinstance(a, Formula) else (b, a)
    if isinstance(other, Members):
        return None
    if not isinstance(formula, Formula) or not isinstance(other, Number):
        return False
    return False if formula.variables else None


def _same_members(a: Members, b: Members, *, depth: int) -> bool | None:
    if len(a.texts) > _MEMBERS or len(b.texts) > _MEMBERS:
        return a == b
    if "{}" in (a.brackets, b.brackets):
        return _same_set(a.texts, b.texts, depth=depth)
    if len(a.texts) != len(b.texts) or a.brackets != b.brackets:
        return False
    pairs = zip(a.texts, b.texts, strict=True)
    return _all(_same_text(x, y, depth=depth + 1) for x, y in pairs)


def _same_set(a: tuple[str, ...], b: tuple[str, ...], *, depth: int) -> bool | None:
    """Compare without order; sets of sets and large sets only as they are written."""
    if depth or max(len(a), len(b)) > _MATCHED:
        return set(a) == set(b)
    left, right = [read(text) for text in a], [read(text) for text in b]
    return _all((_within(left, right), _within(right, left)))


def _within(a: list[tuple[Meaning, ...]], b: list[tuple[Meaning, ...]]) -> bool | None:
    return _all(_any(_same_meanings(x, y, depth=1) for y in b) for x in a)
