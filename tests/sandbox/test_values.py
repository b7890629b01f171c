"""What a program leaves comes back with its type and its exact text."""

from __future__ import annotations

import pytest

from cap_sandbox import Limits, Pool, Value

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def value_of(pool: Pool, program: str) -> Value | None:
    execution = await pool.execute(program, limits=Limits(wall_s=20))
    assert execution.status == "ok", execution.stderr
    return execution.value


LEAVES = [
    ("7", "int", "7"),
    ("-(2**70)", "int", "-1180591620717411303424"),
    ("10**5000", "int", "1" + "0" * 5000),
    ("0.1 + 0.2", "float", "0.30000000000000004"),
    ("float('nan')", "float", "nan"),
    ("-float('inf')", "float", "-inf"),
    ("1e300", "float", "1e+300"),
    ("True", "bool", "True"),
    ("'caf\\u00e9'", "text", "café"),
    ("'\\ud800'", "text", "?"),
    ("''", "text", ""),
    ("b'ab'", "text", "b'ab'"),
    ("complex(1, -2)", "complex", "1-2j"),
    ("1j", "complex", "1j"),
    ("Fraction(1, 3)", "fraction", "1/3"),
    ("Fraction(4, 2)", "fraction", "2"),
    ("Decimal('1.10')", "decimal", "1.10"),
    ("Decimal('Infinity')", "decimal", "Infinity"),
    ("date(2024, 2, 29)", "date", "2024-02-29"),
    ("datetime(2024, 2, 29, 13, 5)", "date", "2024-02-29T13:05:00"),
    ("sp.Integer(5)", "int", "5"),
    ("sp.Rational(2, 6)", "fraction", "1/3"),
    ("sp.Float('0.5')", "float", "0.500000000000000"),
    ("sp.oo", "float", "inf"),
    ("-sp.oo", "float", "-inf"),
    ("sp.nan", "float", "nan"),
    ("sp.true", "bool", "True"),
    ("np.float64(0.5)", "float", "0.5"),
    ("np.float32(0.5)", "float", "0.5"),
    ("np.int64(3)", "int", "3"),
    ("np.bool_(True)", "bool", "True"),
    ("np.array(3)", "int", "3"),
    ("mpmath.mpf('0.25')", "float", "0.25"),
    ("mpmath.mpc(1, 2)", "complex", "1.0+2.0j"),
    ("timedelta(hours=3)", "text", "3:00:00"),
]

_IMPORTS = """
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
import mpmath, numpy as np, sympy as sp
"""


@pytest.mark.parametrize(("expression", "kind", "text"), LEAVES)
async def test_a_single_value_keeps_its_type_and_text(
    expression: str, kind: str, text: str, pool: Pool
) -> None:
    value = await value_of(pool, f"{_IMPORTS}answer = {expression}")
    assert value is not None
    assert (value.type, value.text) == (kind, text)
    assert value.items is None
    assert value.entries is None


async def test_an_expression_comes_with_its_latex(pool: Pool) -> None:
    value = await value_of(pool, "import sympy\nanswer = sympy.sqrt(2) / 2")
    assert value == Value("expression", "sqrt(2)/2", latex=r"\frac{\sqrt{2}}{2}")


CONTAINERS = [
    ("[1, 'a', None]", "[1, 'a', None]", ["int", "text", "none"]),
    ("(1,)", "(1,)", ["int"]),
    ("{3, 1, 2}", "{1, 2, 3}", ["int"] * 3),
    ("frozenset()", "[]", []),
    ("range(3)", "[0, 1, 2]", ["int"] * 3),
    ("map(str, [1])", "['1']", ["text"]),
    ("(n * n for n in [2])", "[4]", ["int"]),
    ("{'a': 1}.values()", "[1]", ["int"]),
    ("np.array([[1, 2], [3, 4]])", "[[1, 2], [3, 4]]", ["list", "list"]),
    ("np.array([0.5])", "[0.5]", ["float"]),
    ("sp.FiniteSet(2, 1)", "{1, 2}", ["int", "int"]),
    ("sp.Tuple(1, sp.Symbol('x'))", "(1, x)", ["int", "expression"]),
]


@pytest.mark.parametrize(("expression", "text", "kinds"), CONTAINERS)
async def test_a_container_comes_as_a_list_with_typed_items(
    expression: str, text: str, kinds: list[str], pool: Pool
) -> None:
    value = await value_of(pool, f"{_IMPORTS}answer = {expression}")
    assert value is not None
    assert (value.type, value.text) == ("list", text)
    assert [item.type for item in value.items or ()] == kinds


async def test_a_dict_comes_with_typed_pairs(pool: Pool) -> None:
    value = await value_of(pool, "answer = {'x': 1.5, 2: [True]}")
    assert value is not None
    assert (value.type, value.text) == ("dict", "{'x': 1.5, 2: [True]}")
    assert [(key.type, member.type) for key, member in value.entries or ()] == [
        ("text", "float"),
        ("int", "list"),
    ]


@pytest.mark.parametrize(
    "expression",
    ["list(range(10**5))", "10**200_000", "'x' * 10**6", "np.zeros(10**6)", "nested(40)", "loop()"],
)
async def test_a_value_too_large_to_carry_becomes_a_short_text(expression: str, pool: Pool) -> None:
    program = f"""
import numpy as np
def nested(depth):
    return [nested(depth - 1)] if depth else []
def loop():
    itself = []
    itself.append(itself)
    return itself
answer = {expression}
"""
    value = await value_of(pool, program)
    assert value is not None
    assert value.type == "text"
    assert 0 < len(value.text) <= 1_001


RULES = [
    ("answer = 1\nans = 2\nprint(3)", "1"),
    ("ans = 2\nprint(3)", "2"),
    ("answer = None\nans = 2", "2"),
    ("answer = None\nprint(3)", "3"),
    ("def answer():\n    return 4\nprint(answer())", "4"),
    ("def solution():\n    return 5", "5"),
    ("def solver():\n    return 6\nprint('working')", "6"),
    ("def solution():\n    return 5\nprint('it is', solution() + 1)", "it is 6"),
    ("def solution():\n    return 5\nresult = solution()", "5"),
    ("def solution():\n    print(7)", "7"),
    # To Python these are the same letters, and so it is called already.
    ("def ｓolution():\n    print(7)\n    return 5\nｓolution()", "7"),
    ("def solution(n):\n    return n\nprint(solution(8))", "8"),
    ("def solution(n=9):\n    return n", "9"),
    ("def solution(n):\n    return n", None),
    ("print('a')\nprint('b')\nprint()\nprint('  ')", "b"),
    ("print(1, end=' ')\nprint(2, end='')", "1 2"),
    ("x = 1", None),
    ("", None),
]


@pytest.mark.parametrize(("program", "text"), RULES)
async def test_the_answer_is_found_by_the_rule(program: str, text: str | None, pool: Pool) -> None:
    value = await value_of(pool, program)
    assert (value.text if value else None) == text


async def test_an_answer_that_cannot_be_written_is_an_error(pool: Pool) -> None:
    program = "class A:\n    def __str__(self):\n        return 1 / 0\nanswer = A()"
    execution = await pool.execute(program, limits=Limits())
    assert execution.status == "error"
    assert "ZeroDivisionError" in execution.stderr
