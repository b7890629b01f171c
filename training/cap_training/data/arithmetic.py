"""Sums as trees: read from text, worked out exactly, written as a short program.

Programs are written in one way only, whatever the sum came from: one line a step, one-letter names,
the result in `answer`. A small model that sees one way learns it with fewer examples.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

NAMES = "abcdefghijklmnopqrstuvwxyz"

_SIGNS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}

_OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: Fraction(a // b),
    "%": lambda a, b: a % b,
}

_CHAINS = {"+": "+-", "-": "+-", "*": "*"}
"""What may go on in the same line after each sign."""

_LONGEST = 4
"""Numbers in one line."""

_LARGEST = 10**12


class SumError(ValueError):
    """A sum that cannot be read, or has no sensible value."""


@dataclass(frozen=True, eq=False, slots=True)
class Number:
    """A number of the question; `text` is how a program writes it."""

    value: Fraction
    text: str


@dataclass(frozen=True, eq=False, slots=True)
class Sum:
    """Two sums joined by a sign. The same object in two places is one step of the program."""

    sign: str
    left: Node
    right: Node


Node = Number | Sum


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a program: `name = terms[0] signs[0] terms[1] …`, from left to right.

    Attributes:
        terms: numbers, and names of earlier steps.
    """

    name: str
    terms: tuple[Number | str, ...]
    signs: tuple[str, ...]

    @property
    def line(self) -> str:
        words = [t if isinstance(t, str) else t.text for t in self.terms]
        tail = "".join(sign + word for sign, word in zip(self.signs, words[1:], strict=True))
        return f"{self.name}={words[0]}{tail}"


def number(value: Fraction | int) -> Number:
    value = Fraction(value)
    return Number(value, written(value))


def written(value: Fraction) -> str:
    """The number in digits; to two decimal places where it has no end.

    >>> written(Fraction(5, 4)), written(Fraction(10, 3))
    ('1.25', '3.33')
    """
    if value.denominator == 1:
        return str(value.numerator)
    places = 4 if 10**4 % value.denominator == 0 else 2
    return f"{float(value):.{places}f}".rstrip("0").rstrip(".")


def parse(text: str, known: Mapping[str, Node] | None = None) -> Node:
    """Read a sum of numbers and `known` names.

    Raises:
        SumError: it holds anything else.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SumError(text) from error
    return _node(tree, known or {}, {}, text)


def _node(tree: ast.expr, known: Mapping[str, Node], seen: dict[str, Node], text: str) -> Node:
    match tree:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
            # What is written twice is worked out once.
            if (key := ast.dump(tree)) not in seen:
                a, b = (_node(side, known, seen, text) for side in (left, right))
                seen[key] = Sum(_SIGNS[type(op)], a, b)
            return seen[key]
        case ast.Constant(value=int() | float() as value) if type(value) is not bool:
            if value < _LARGEST:  # infinity is no fraction
                return number(Fraction(str(value)))
        case ast.Name(id=name) if name in known:
            return known[name]
    raise SumError(text)


def evaluate(node: Node) -> Fraction:
    """Work a sum out.

    Raises:
        SumError: a division by nothing, or a number too large for a school problem.
    """
    if isinstance(node, Number):
        return node.value
    return operate(node.sign, evaluate(node.left), evaluate(node.right))


def operate(sign: str, a: Fraction, b: Fraction) -> Fraction:
    try:
        value = _OPERATIONS[sign](a, b)
    except ZeroDivisionError as error:
        raise SumError(f"{a}{sign}{b}") from error
    if abs(value) > _LARGEST or value.denominator > _LARGEST:
        raise SumError("too large")
    return value


def numbers(node: Node) -> Iterator[Number]:
    """The numbers of a sum, from left to right."""
    if isinstance(node, Number):
        yield node
    else:
        yield from numbers(node.left)
        yield from numbers(node.right)


def steps(node: Node) -> tuple[Step, ...]:
    """The lines of the program that works `node` out; the last one's name is `answer`."""
    if isinstance(node, Number):
        return (Step("answer", (node,), ()),)
    lines: list[Step] = []
    _write(node, lines, {}, shared=_shared(node), last=True)
    return tuple(lines)


def program(node: Node) -> str:
    return "\n".join(step.line for step in steps(node))


def values(lines: tuple[Step, ...]) -> dict[str, Fraction]:
    """Work out every line of a program.

    Raises:
        SumError: as `evaluate`.
    """
    known: dict[str, Fraction] = {}
    for step in lines:
        terms = [known[t] if isinstance(t, str) else t.value for t in step.terms]
        value = terms[0]
        for sign, term in zip(step.signs, terms[1:], strict=True):
            value = operate(sign, value, term)
        known[step.name] = value
    return known


def _shared(node: Node) -> set[int]:
    seen: set[int] = set()
    twice: set[int] = set()
    waiting = [node]
    while waiting:
        if isinstance(top := waiting.pop(), Number):
            continue
        if id(top) in seen:
            twice.add(id(top))
            continue
        seen.add(id(top))
        waiting += [top.left, top.right]
    return twice


def _write(
    node: Sum, lines: list[Step], done: dict[int, str], *, shared: set[int], last: bool = False
) -> str:
    if id(node) in done:
        return done[id(node)]
    signs, operands = _chain(node, shared)
    terms: list[Number | str] = [
        operand if isinstance(operand, Number) else _write(operand, lines, done, shared=shared)
        for operand in operands
    ]
    name = "answer" if last else NAMES[len(lines) % len(NAMES)]
    lines.append(Step(name, tuple(terms), tuple(signs)))
    done[id(node)] = name
    return name


def _chain(node: Sum, shared: set[int]) -> tuple[list[str], list[Node]]:
    """Put what may stand in one line into one line: `a+b-c`, `a*b*c`."""
    signs, operands = [node.sign], [node.left, node.right]
    may_follow = _CHAINS.get(node.sign, "")
    while (
        isinstance(first := operands[0], Sum)
        and first.sign in may_follow
        and id(first) not in shared
        and len(operands) < _LONGEST
    ):
        signs.insert(0, first.sign)
        operands[:1] = [first.left, first.right]
    return signs, operands
