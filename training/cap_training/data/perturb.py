"""The same problem with other numbers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from cap_training.data.arithmetic import Node, Number, Sum, SumError, evaluate, number, numbers
from cap_training.data.mentions import Mention, mentions, rewritten
from cap_training.data.problems import SourceProblem

_ATTEMPTS = 30
_NEAT_PERCENTS = tuple(map(Fraction, (5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 80)))


def perturbed(problem: SourceProblem, rng: random.Random) -> SourceProblem | None:
    """A twin with other numbers, worked out anew; None if no sane one was found.

    Sane: what was whole stays whole at every step, what was positive stays positive, and no number
    that the sum uses is left as it was while the question changes.
    """
    used = _used(problem)
    if not used:
        return None
    for _ in range(_ATTEMPTS):
        new = {mention: _another(problem.question, mention, rng) for mention in used}
        by_value = {mention.value: value for mention, value in new.items()}
        try:
            sum_ = _with(problem.sum, by_value, {})
            if _as_sane(problem.sum, sum_):
                question = rewritten(problem.question, new)
                return replace(
                    problem, question=question, sum=sum_, source=problem.source or problem.id
                )
        except SumError:
            continue
    return None


def _used(problem: SourceProblem) -> tuple[Mention, ...]:
    """The mentions that the sum uses, where it is clear which number stands for which."""
    found = mentions(problem.question)
    counts = Counter(mention.value for mention in found)
    wanted = {leaf.value for leaf in numbers(problem.sum)}
    if any(counts[value] > 1 for value in wanted):
        return ()
    return tuple(
        m for m in found if m.value in wanted and m.value > 1 and not 1900 <= m.value <= 2100
    )


def _another(question: str, mention: Mention, rng: random.Random) -> Fraction:
    value = mention.value
    after = question[mention.end : mention.end + 9].lstrip()
    if after.startswith(("%", "percent")):
        return rng.choice(_NEAT_PERCENTS)
    if value.denominator != 1:
        return max(Fraction(1, 4), value + Fraction(rng.randrange(-8, 9), 4))
    low, high = max(2, int(value * Fraction(2, 5))), int(value * 2) + 2
    if value >= 100 and value % 10 == 0:
        return Fraction(rng.randrange(low // 10 + 1, high // 10 + 1) * 10)
    return Fraction(rng.randrange(low, high + 1))


def _with(node: Node, new: Mapping[Fraction, Fraction], done: dict[int, Node]) -> Node:
    if id(node) not in done:
        if isinstance(node, Number):
            done[id(node)] = number(new[node.value]) if node.value in new else node
        else:
            left, right = _with(node.left, new, done), _with(node.right, new, done)
            done[id(node)] = Sum(node.sign, left, right)
    return done[id(node)]


def _as_sane(old: Node, new: Node) -> bool:
    if isinstance(old, Number) or isinstance(new, Number):
        return True
    before, after = evaluate(old), evaluate(new)
    if before > 0 >= after or (before.denominator == 1) != (after.denominator == 1):
        return False
    if before.denominator != 1 and after.denominator > 100:
        return False
    return _as_sane(old.left, new.left) and _as_sane(old.right, new.right)
