"""Any program that the policy accepts means what it means in plain Python, every time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cap_sandbox import Execution, Limits, Pool
from tests.sandbox.plain import run_plainly

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMITS = Limits(wall_s=10)
NAMES = st.sampled_from(["a", "b", "_c", "__d", "open", "total"])
NUMBERS = st.integers(-9, 9).map(str) | st.sampled_from(["0.5", "1e3", "True", "2**70"])


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    operator = st.sampled_from(["+", "-", "*", "/", "//", "%", "==", "<", "and", "or"])
    return st.one_of(
        st.tuples(inner, operator, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        pair.map(lambda t: f"[{t[0]} + x for x in range(4) if x != {t[1]}]"),
        pair.map(lambda t: f"{{'k': {t[0]}, 'l': {t[1]}}}"),
        pair.map(lambda t: f"f'{{{t[0]}!r:>9}}|{{{t[1]}}}'"),
        pair.map(lambda t: f"'{{:>9}}|{{}}'.format({t[0]}, {t[1]})"),
        pair.map(lambda t: f"(lambda _x, y={t[0]}: _x + y)({t[1]})"),
        pair.map(lambda t: f"sorted([{t[0]}, {t[1]}])"),
        inner.map(lambda e: f"abs({e})"),
        inner.map(lambda e: f"str({e})"),
    )


EXPRESSIONS = st.recursive(NUMBERS | NAMES, _combined, max_leaves=6)


def _indented(body: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for text in body for line in text.splitlines())


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=3).map(_indented)
    return st.one_of(
        st.tuples(NAMES, body).map(lambda t: f"for {t[0]} in range(3):\n{t[1]}"),
        st.tuples(EXPRESSIONS, body, body).map(lambda t: f"if {t[0]}:\n{t[1]}\nelse:\n{t[2]}"),
        st.tuples(body, body).map(
            lambda t: (
                f"try:\n{t[0]}\nexcept (TypeError, ArithmeticError) as e:\n"
                f"    print(type(e).__name__)\nfinally:\n{t[1]}"
            )
        ),
        st.tuples(body, EXPRESSIONS).map(
            lambda t: (
                f"def _f(n, *r, k=1):\n    global a, b\n{t[0]}\n    return {t[1]}\n"
                "print(_f(1, 2, k=3))"
            )
        ),
        st.tuples(body, EXPRESSIONS, EXPRESSIONS).map(
            lambda t: (
                f"class _K:\n    v = {t[1]}\n    def __init__(self, x): self._x = x\n"
                f"    def __add__(self, o): return self._x + o\n"
                f"k = _K({t[2]})\nk.v += 1\nk._x += k.v\nprint(k.v, k + 1)\n"
                f"while not done:\n    done = True\n{t[0]}"
            )
        ),
        EXPRESSIONS.map(
            lambda e: (
                f"match {e}:\n    case int(n) if n > 3: print('int', n)\n"
                "    case [x, *rest]: print(x, rest)\n    case {'k': v, **more}: print(v, more)\n"
                "    case _: print('other')"
            )
        ),
    )


SIMPLE = st.one_of(
    st.tuples(NAMES, EXPRESSIONS).map(lambda t: f"{t[0]} = {t[1]}"),
    st.tuples(NAMES, st.sampled_from(["+=", "-=", "*="]), NUMBERS).map(" ".join),
    EXPRESSIONS.map(lambda e: f"d['k'] += {e}"),
    EXPRESSIONS.map(lambda e: f"l[-1] *= {e}"),
    EXPRESSIONS.map(lambda e: f"d[str({e})] = l[:2]"),
    EXPRESSIONS.map(lambda e: f"print({e}, sep='')"),
    st.tuples(NAMES, NAMES, EXPRESSIONS).map(lambda t: f"{t[0]}, *{t[1]} = 1, 2, {t[2]}"),
)
STATEMENTS = st.recursive(SIMPLE, _compound, max_leaves=5)
BEGINNING = "a = 1\nb = [2]\n_c = 3\n__d = 'four'\nopen = 5\ntotal = 0\nd = {'k': 1}\nl = [1, 2]\n"
ENDING = "answer = [a, b, _c, __d, open, total, d, l]\n"
PROGRAMS = st.lists(STATEMENTS, min_size=1, max_size=6).map(
    lambda body: f"{BEGINNING}done = False\n" + "\n".join(body) + f"\n{ENDING}"
)


@settings(
    max_examples=8,
    # A batch takes a second: what fails is small enough to read as it is.
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(programs=st.lists(PROGRAMS, min_size=25, max_size=25, unique=True))
async def test_accepted_programs_mean_what_they_mean_in_plain_python(
    pool: Pool, programs: list[str]
) -> None:
    plain = await asyncio.to_thread(run_plainly, {program: program for program in programs})
    runs = [pool.execute(program, limits=LIMITS) for program in programs for _ in range(2)]
    executions = await asyncio.gather(*runs)
    for program, first, second in zip(programs, executions[::2], executions[1::2], strict=True):
        assert _outcome(first) == _outcome(second), program
        if first.status != "rejected":
            raised, answer, output = plain[program]
            assert first.stdout == output, program
            assert _outcome(first) == (raised, answer if raised is None else None), program


def _outcome(execution: Execution) -> tuple[str | None, str | None]:
    """What it raised, and its answer as text."""
    if execution.status == "ok":
        return None, execution.value.text if execution.value else None
    return execution.stderr.strip().splitlines()[-1].partition(":")[0], None
