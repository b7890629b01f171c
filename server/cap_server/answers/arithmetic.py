"""Constants worked out exactly: `160/(1-20%)`, `1(3/4)`, `2 sqrt(3)`. No names, no evaluation."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<name>sqrt|pi)(?![A-Za-z])"
    r"|(?P<sign>\*\*|[-+*/^()%]))"
)
_MIXED = re.compile(r"(\d+)\s*\((\d+)\s*/\s*(\d+)\)")
_BITS = 8192
_DEPTH = 40
_LENGTH = 1000


class NotANumberError(ValueError):
    """The text is no constant, or one too large to be worked out here."""


def evaluate(text: str) -> Fraction | float:
    """Return the value of an expression of numbers in plain notation; a float if irrational.

    Raises:
        NotANumberError: it names a variable, divides by zero, or is too large or too deep.
    """
    if len(text) > _LENGTH:
        raise NotANumberError("too long")
    try:
        return _Parser(_tokens(_MIXED.sub(r"(\1+\2/\3)", text))).value()
    except (ArithmeticError, ValueError) as error:
        raise NotANumberError(str(error)) from error


def _tokens(text: str) -> list[str]:
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise NotANumberError("not arithmetic")
        tokens.append(found[0].strip())
        at = found.end()
    return tokens


class _Parser:
    """Recursive descent; `_DEPTH` and `_BITS` bound what hostile text can cost."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def value(self) -> Fraction | float:
        result = self._sum()
        if self._at < len(self._tokens):
            raise NotANumberError("left over")
        return result

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *signs: str) -> str:
        if self._peek() not in signs:
            return ""
        self._at += 1
        return self._tokens[self._at - 1]

    def _sum(self) -> Fraction | float:
        self._depth += 1
        if self._depth > _DEPTH:
            raise NotANumberError("too deep")
        result = self._product()
        while sign := self._take("+", "-"):
            term = self._product()
            result = _bounded(result + term if sign == "+" else result - term)
        self._depth -= 1
        return result

    def _product(self) -> Fraction | float:
        result = self._signed()
        while (sign := self._take("*", "/")) or self._starts_factor():
            factor = self._signed()
            result = _bounded(result / factor if sign == "/" else result * factor)
        return result

    def _starts_factor(self) -> bool:
        return self._peek() in ("(", "sqrt", "pi")

    def _signed(self) -> Fraction | float:
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        result = self._power()
        return -result if negative else result

    def _power(self) -> Fraction | float:
        base = self._postfix()
        if not self._take("^", "**"):
            return base
        self._depth += 1
        if self._depth > _DEPTH:
            raise NotANumberError("too deep")
        exponent = self._signed()
        self._depth -= 1
        return _raised(base, exponent)

    def _postfix(self) -> Fraction | float:
        result = self._atom()
        while self._take("%"):
            result = result / 100
        return result

    def _atom(self) -> Fraction | float:
        if self._take("("):
            result = self._sum()
            if not self._take(")"):
                raise NotANumberError("unclosed")
            return result
        if self._take("sqrt"):
            return _raised(self._postfix(), Fraction(1, 2))
        if self._take("pi"):
            return math.pi
        return self._number()

    def _number(self) -> Fraction:
        token = self._peek()
        if not token or token[0] not in ".0123456789":
            raise NotANumberError("no number")
        self._at += 1
        return Fraction(token)


def _bounded(value: Fraction | float) -> Fraction | float:
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > _BITS:
            raise NotANumberError("too large")
    elif not math.isfinite(value):
        raise NotANumberError("not finite")
    return value


def _raised(base: Fraction | float, exponent: Fraction | float) -> Fraction | float:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            return _whole_power(base, exponent.numerator)
        if exponent == Fraction(1, 2) and (root := _exact_root(base)) is not None:
            return root
    if base < 0:
        raise NotANumberError("not real")
    return _bounded(float(base) ** float(exponent))


def _whole_power(base: Fraction, exponent: int) -> Fraction:
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) > _BITS or size * abs(exponent) > _BITS:
        raise NotANumberError("too large")
    return base**exponent


def _exact_root(base: Fraction) -> Fraction | None:
    if base < 0:
        raise NotANumberError("not real")
    above, below = math.isqrt(base.numerator), math.isqrt(base.denominator)
    exact = above * above == base.numerator and below * below == base.denominator
    return Fraction(above, below) if exact else None
