"""How probable each answer is, given the prior's answer and those of programs.

Two kinds of witness are weighed. A CoT's source is a one-coin rater (Dawid & Skene 1979): right
with its accuracy, whatever the question. Programs of one model are not many raters, because they
share its mistakes: they are draws from the model's own distribution over answers to this question,
a Pólya urn. An answer that k of n programs come to would be the next draw too with probability
k / (n + concentration), so a hundred agreeing programs are not a hundred witnesses; what is left,
concentration / (n + concentration), is the doubt that remains. The concentration is estimated from
how often programs agree (`estimates.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from cap_server.domain import Pattern

SHARPNESS = 2.2
"""The exponent on counts. The truth is the mode of the model's distribution more often than it is a
random draw from it; 2 to 2.5 did equally well on one half of the recorded GSM8K answers."""

COLLISION = 0.25
"""How often a CoT that is wrong comes to one of the wrong answers that programs came to, given that
there are any. On the same recordings it was 0.2 to 0.3."""


@dataclass(frozen=True, slots=True)
class Urn:
    """What programs alone say: the probability of each answer they came to, and of none of them."""

    answers: Mapping[int, float]
    counts: Counter[int]
    none: float


def urn(programs: tuple[int | None, ...], *, concentration: float, reliability: float) -> Urn:
    """Weigh programs by themselves.

    Args:
        programs: the answers' numbers; None for a program without an answer, which says nothing.
        concentration: above 0; how much the model's answers to one question differ.
        reliability: 0 to 1; how often the truth is in the model's reach at all.
    """
    counts = Counter(program for program in programs if program is not None)
    weights = {answer: count**SHARPNESS for answer, count in counts.items()}
    doubt = concentration * len(counts)
    total = sum(weights.values()) + doubt
    if not counts:
        return Urn({}, counts, none=1.0)
    answers = {answer: reliability * weight / total for answer, weight in weights.items()}
    return Urn(answers, counts, none=1 - sum(answers.values()))


def joint(pattern: Pattern, programs: Urn, *, accuracy: float) -> dict[int | None, float]:
    """The probability of each answer together with the prior's; the key None is "none of these".

    Args:
        pattern: whose prior is weighed.
        programs: what the pattern's programs say.
        accuracy: 0 to 1; that of the prior's source.
    """
    prior, total = pattern.prior, programs.counts.total()
    of: dict[int | None, float] = dict(programs.answers.items())
    of[None] = programs.none
    if prior is None:
        return of
    for answer, probability in of.items():
        others = total - (programs.counts[answer] if answer is not None else 0)
        of[answer] = probability * _of_prior(
            prior, answer, accuracy=accuracy, among=programs.counts, others=others
        )
    if prior not in programs.counts:
        of[prior] = programs.none * accuracy
    return of


def posterior(
    pattern: Pattern, *, accuracy: float, concentration: float, reliability: float
) -> dict[int | None, float]:
    """How probable each answer of `pattern` is; the key None is "none of these". Sums to 1."""
    programs = urn(pattern.programs, concentration=concentration, reliability=reliability)
    of = joint(pattern, programs, accuracy=accuracy)
    total = sum(of.values())
    return {answer: probability / total for answer, probability in of.items()}


def _of_prior(
    prior: int, truth: int | None, *, accuracy: float, among: Counter[int], others: int
) -> float:
    """How probable it is that the source says `prior` when `truth` is right."""
    if prior == truth:
        return accuracy
    if prior in among:
        return (1 - accuracy) * COLLISION * among[prior] / others
    return (1 - accuracy) * (1 - COLLISION if others else 1)
