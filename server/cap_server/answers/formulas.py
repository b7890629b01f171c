"""What is mathematics, and nothing else: the only texts that a symbolic parser gets to see."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cap_server.answers.plain import READABLE

_FUNCTIONS = (
    "sqrt sin cos tan cot sec csc log ln exp abs pi oo max min gcd lcm floor ceil mod degrees"
)
_LATEX = (
    "sqrt frac sin cos tan cot sec csc log ln exp max min gcd arcsin arccos arctan binom sum prod "
    "int lim bmod pmod pm mp to in cup cap setminus emptyset varnothing mathbb overline dots ldots "
    "cdots circ vec hat bar alpha beta gamma delta theta lambda mu phi omega sigma begin end "
    "Rightarrow lfloor rfloor lceil rceil mid"
)
_ENVIRONMENTS = "pmatrix bmatrix vmatrix matrix cases"
_FORMULA = re.compile(
    r"(?>\d+(?:\.\d+)?|\.\d+"
    rf"|\\(?:{_LATEX.replace(' ', '|')})(?![A-Za-z])|\((?:{_ENVIRONMENTS.replace(' ', '|')})\)"
    rf"|(?<![A-Za-z])(?:{_FUNCTIONS.replace(' ', '|')})(?![A-Za-z])"
    r"|[A-Za-z]{1,2}(?![A-Za-z])|[-+*/^()\[\]⦃⦄|=<>!,_'&;:±]|\s)++"
)
_ALGEBRA = re.compile(r"[A-Za-z\\^±|]|\*\*")
_OPERATION = re.compile(r"[-\d\\^*/+=<>]|sqrt|pi|oo")
_SCIENTIFIC = re.compile(r"[-+.\d]+[eE][-+]?\d+")
_COMMANDS = re.compile(
    r"\\[A-Za-z]+|(?<![A-Za-z])(?:sqrt|pi|oo|sin|cos|tan|log|ln|exp|degrees)(?![a-z])"
)
_PROSE = "is of to in on at or an no by it as if us me my we he am pm be so do go up"
_WHOLE = re.compile(r"[\w(\[⦃\\+\-|.±].*[\w)\]⦄|'!}]", re.DOTALL)
_CONSTANTS = frozenset("ei")


@dataclass(frozen=True, slots=True)
class Formula:
    """Mathematics that has no value here.

    Attributes:
        text: without spaces.
        variables: the letters it leaves open; none if it is a constant too hard to work out here.
    """

    text: str
    variables: frozenset[str] = frozenset()


def is_mathematics(text: str) -> bool:
    """Return whether `text`, in plain notation, has nothing in it but mathematics."""
    return len(text) <= READABLE and bool(_FORMULA.fullmatch(text))


def read_formula(text: str) -> Formula | None:
    """Return `text`, in plain notation, as a formula, if it is one and nothing simpler."""
    if not is_mathematics(text) or not _WHOLE.fullmatch(text):
        return None
    if not _ALGEBRA.search(text) or not _OPERATION.search(text) or _SCIENTIFIC.fullmatch(text):
        return None
    letters = re.findall(r"(?<![A-Za-z\\])[A-Za-z]{1,2}(?![A-Za-z])", _COMMANDS.sub(" ", text))
    if not _balanced(text) or _is_prose(letters):
        return None
    written = re.sub(r"\s+", "", text).replace("**", "^")
    return Formula(written, frozenset("".join(letters)) - _CONSTANTS)


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in "([⦃") - (character in ")]⦄")
        if depth < 0:
            return False
    return depth == 0


def _is_prose(letters: list[str]) -> bool:
    return not set(_PROSE.split()).isdisjoint(map(str.casefold, letters))
