"""Chains of thought for a program: right ones, and ones with a typical mistake in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from cap_training.data.arithmetic import Number, Step, SumError, number, steps, values, written
from cap_training.data.problems import SourceProblem

Mistake = Literal["slip", "operation", "dropped", "misread", "swapped", "extra"]
MISTAKES: tuple[Mistake, ...] = ("slip", "operation", "dropped", "misread", "swapped", "extra")

_ATTEMPTS = 20
_OTHER_SIGNS = {"+": "-*", "-": "+", "*": "+/", "/": "*-", "//": "*", "%": "/"}
_VERBS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
_JOINTS = {"+": "to", "-": "from", "*": "by", "/": "by"}
_OPENINGS = ("", "", "Let's think step by step. ", "First, ", "We compute. ", "Solution: ")


@dataclass(frozen=True, slots=True)
class Worked:
    """The steps somebody took, and what each came to; a slip makes these two disagree."""

    lines: tuple[Step, ...]
    values: Mapping[str, Fraction]

    @property
    def answer(self) -> Fraction:
        return self.values["answer"]


@dataclass(frozen=True, slots=True)
class Cot:
    """A chain of thought, its answer, and the mistake in it; None: it is right."""

    text: str
    answer: str
    mistake: Mistake | None


def right_cot(problem: SourceProblem, rng: random.Random) -> Cot:
    lines = steps(problem.sum)
    worked = Worked(lines, values(lines))
    return Cot(tell(worked, problem, rng), written(worked.answer), None)


def wrong_cot(problem: SourceProblem, rng: random.Random) -> Cot | None:
    """A chain of thought that comes to a wrong, plausible answer; None if none was found."""
    lines = steps(problem.sum)
    truth = values(lines)["answer"]
    for _ in range(_ATTEMPTS):
        mistake = rng.choice(MISTAKES)
        try:
            worked = _MAKE[mistake](lines, problem, rng)
        except (SumError, ValueError, IndexError):
            continue
        answer = worked.answer
        if answer > 0 and answer.denominator <= 100 and written(answer) != written(truth):
            return Cot(tell(worked, problem, rng), written(answer), mistake)
    return None


def tell(worked: Worked, problem: SourceProblem, rng: random.Random) -> str:
    """Put steps into words, in one of the ways that models and people do."""
    styles = _CHINESE if problem.language == "zh" else _ENGLISH
    if dict(worked.values) != values(worked.lines):
        # A program cannot show a slip.
        styles = [style for style in styles if style is not _program]
    return rng.choice(styles)(worked, problem, rng)


# Mistakes


def _slip(lines: tuple[Step, ...], problem: SourceProblem, rng: random.Random) -> Worked:
    at = rng.randrange(len(lines))
    value = values(lines)[lines[at].name]
    size = 10 ** rng.randrange(max(1, len(str(abs(int(value))))))
    off = rng.choice((-1, 1)) * size * rng.choice((1, 1, 1, 2))
    return _forward(lines, {lines[at].name: value + off})


def _operation(lines: tuple[Step, ...], problem: SourceProblem, rng: random.Random) -> Worked:
    at = rng.randrange(len(lines))
    step = lines[at]
    where = rng.randrange(len(step.signs))
    sign = rng.choice(_OTHER_SIGNS[step.signs[where]])
    signs = (*step.signs[:where], sign, *step.signs[where + 1 :])
    return _forward((*lines[:at], replace(step, signs=signs), *lines[at + 1 :]))


def _dropped(lines: tuple[Step, ...], problem: SourceProblem, rng: random.Random) -> Worked:
    last = lines[-1]
    if len(lines) > 1 and (len(last.terms) == 2 or rng.random() < 0.5):
        kept = lines[:-1]
        return _forward((*kept[:-1], replace(kept[-1], name="answer")))
    if len(last.terms) < 3:
        raise ValueError("nothing to drop")
    at = rng.randrange(1, len(last.terms))
    terms = last.terms[:at] + last.terms[at + 1 :]
    signs = last.signs[: at - 1] + last.signs[at:]
    return _forward((*lines[:-1], replace(last, terms=terms, signs=signs)))


def _misread(lines: tuple[Step, ...], problem: SourceProblem, rng: random.Random) -> Worked:
    at = rng.randrange(len(lines))
    step = lines[at]
    where = rng.choice([i for i, term in enumerate(step.terms) if isinstance(term, Number)])
    term = step.terms[where]
    if not isinstance(term, Number):
        raise ValueError("no number")
    terms = (*step.terms[:where], number(_nearby(term, rng)), *step.terms[where + 1 :])
    return _forward((*lines[:at], replace(step, terms=terms), *lines[at + 1 :]))


def _swapped(lines: tuple[Step, ...], problem: SourceProblem, rng: random.Random) -> Worked:
    places = [
        (i, j)
        for i, step in enumerate(lines)
        for j, term in enumerate(step.terms)
        if isinstance(term, Number)
    ]
    (i, j), (k, m) = rng.sample(places, 2)
    changed = [list(step.terms) for step in lines]
    changed[i][j], changed[k][m] = changed[k][m], changed[i][j]
    return _forward(tuple(replace(s, terms=tuple(t)) for s, t in zip(lines, changed, strict=True)))


def _extra(lines: tuple[Step, ...], problem: SourceProblem, rng: random.Random) -> Worked:
    found = [term for step in lines for term in step.terms if isinstance(term, Number)]
    name = "z"
    last = replace(lines[-1], name=name)
    more = Step("answer", (name, rng.choice(found)), (rng.choice("+-*"),))
    return _forward((*lines[:-1], last, more))


_Maker = Callable[[tuple[Step, ...], SourceProblem, random.Random], Worked]
_MAKE: dict[Mistake, _Maker] = {
    "slip": _slip,
    "operation": _operation,
    "dropped": _dropped,
    "misread": _misread,
    "swapped": _swapped,
    "extra": _extra,
}


def _nearby(term: Number, rng: random.Random) -> Fraction:
    digits = term.text
    if len(digits) == 2 and digits.isdecimal() and rng.random() < 0.3 and digits[1] != "0":
        return Fraction(digits[::-1])
    return term.value + rng.choice((-2, -1, 1, 2, 10)) * rng.choice((1, 1, 1, 10))


def _forward(lines: tuple[Step, ...], given: Mapping[str, Fraction] | None = None) -> Worked:
    """Work the lines out, with some results given."""
    known: dict[str, Fraction] = {}
    for step in lines:
        if given is not None and step.name in given:
            known[step.name] = given[step.name]
            continue
        terms = tuple(number(known[t]) if isinstance(t, str) else t for t in step.terms)
        known[step.name] = values((replace(step, terms=terms),))[step.name]
    return Worked(lines, known)


# Words


def _shown(step: Step, known: Mapping[str, Fraction]) -> list[str]:
    return [written(known[t]) if isinstance(t, str) else t.text for t in step.terms]


def _sum(step: Step, known: Mapping[str, Fraction], gap: str = " ", times: str = "*") -> str:
    shown = _shown(step, known)
    text = shown[0]
    for sign, term in zip(step.signs, shown[1:], strict=True):
        text += f"{gap}{times if sign == '*' else sign}{gap}{term}"
    return text


def _equations(worked: Worked, problem: SourceProblem, rng: random.Random) -> str:
    gap, times = rng.choice((" ", " ", "")), rng.choice(("*", "*", "x", "×"))
    told = [
        f"{_sum(step, worked.values, gap, times)}{gap}={gap}{written(worked.values[step.name])}"
        for step in worked.lines
    ]
    joint = rng.choice((". ", "\n", ". Then ", ", "))
    return rng.choice(_OPENINGS) + joint.join(told) + _end(worked, problem, rng)


def _sentences(worked: Worked, problem: SourceProblem, rng: random.Random) -> str:
    """As GSM8K's solutions are written: each sum in a sentence that names what it counts."""
    told: list[str] = []
    unit = problem.unit or "units"
    for at, step in enumerate(worked.lines):
        value = written(worked.values[step.name])
        sum_ = _sum(step, worked.values)
        last = at == len(worked.lines) - 1
        forms = (
            f"There are {sum_} = {value} {unit if last else ''}.",
            f"{rng.choice(('That makes', 'This gives', 'So we get'))} {sum_} = {value}.",
            f"{sum_} = {value}{' ' + unit if last else ''}.",
            f"The {'result' if last else 'first part' if at == 0 else 'next part'} is {sum_} = "
            f"{value}.",
        )
        told.append(rng.choice(forms).replace(" .", "."))
    return rng.choice((" ", "\n")).join(told) + _end(worked, problem, rng, stop="")


def _prose(worked: Worked, problem: SourceProblem, rng: random.Random) -> str:
    told: list[str] = []
    for step in worked.lines:
        shown = _shown(step, worked.values)
        value = written(worked.values[step.name])
        sign = step.signs[0] if len(step.signs) == 1 else ""
        if sign not in _VERBS:
            told.append(f"{_sum(step, worked.values)} is {value}")
            continue
        first, second = shown if sign in "*/" else (shown[1], shown[0])
        end = rng.choice((f" to get {value}", f", which gives {value}", f", so {value}"))
        told.append(f"we {_VERBS[sign]} {first} {_JOINTS[sign]} {second}{end}")
    text = rng.choice((". Then ", ". Next, ", "; ")).join(told)
    return text[0].upper() + text[1:] + _end(worked, problem, rng)


def _one_line(worked: Worked, problem: SourceProblem, rng: random.Random) -> str:
    told: dict[str, str] = {}
    for step in worked.lines:
        terms = [t.text if isinstance(t, Number) else told[t] for t in step.terms]
        text = terms[0]
        for sign, term in zip(step.signs, terms[1:], strict=True):
            text += f" {sign} {term}"
        told[step.name] = f"({text})" if len(step.terms) > 1 else text
    whole = told["answer"].removeprefix("(").removesuffix(")")
    return f"{whole} = {written(worked.answer)}" + _end(worked, problem, rng)


def _program(worked: Worked, problem: SourceProblem, rng: random.Random) -> str:
    return "\n".join(step.line for step in worked.lines)


def _bare(worked: Worked, problem: SourceProblem, rng: random.Random) -> str:
    answer = written(worked.answer)
    return rng.choice((answer, f"The answer is {answer}.", f"{answer} {problem.unit}".strip()))


def _end(worked: Worked, problem: SourceProblem, rng: random.Random, *, stop: str = ".") -> str:
    answer = written(worked.answer)
    return rng.choice(
        (
            f"{stop} The answer is {answer}.",
            f"{stop} The answer is {answer}.",
            f"{stop} So the answer is {answer}.",
            f"{stop}\n#### {answer}",
            f"{stop} Answer: {answer}",
            f"{stop}\nThe answer is: {answer}",
            f"{stop}",
        )
    )


def _chinese_equations(worked: Worked, problem: SourceProblem, rng: random.Random) -> str:
    gap, times = rng.choice(("", " ")), rng.choice(("×", "*"))
    told = [
        f"{_sum(step, worked.values, gap, times).replace('/', '÷')}{gap}={gap}"
        f"{written(worked.values[step.name])}"
        for step in worked.lines
    ]
    answer = written(worked.answer)
    end = rng.choice((f"。答案是{answer}。", f"。答：{answer}。", f"，所以答案是{answer}。", "。"))
    return rng.choice(("，", "。", "；")).join(told) + end


_Style = Callable[[Worked, SourceProblem, random.Random], str]
_ENGLISH: Sequence[_Style] = (
    _equations, _equations, _equations, _sentences, _sentences, _prose, _one_line, _program, _bare,
)  # fmt: skip
_CHINESE: Sequence[_Style] = (_chinese_equations, _chinese_equations, _program, _bare)
