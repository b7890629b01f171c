"""Equality with symbolic mathematics behind it, in a child process that may run away or die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cap_server.adapters.math_verify import MathVerify
from cap_server.domain import Answer
from tests.processes import children

SAME = [
    ("x^2 + 1", "1 + x^2"), ("2(x+y)", "2x + 2y"), ("(x+1)^2", "x^2+2x+1"), ("x**2*y", r"x^2 y"),
    (r"\frac{\sqrt{3}}{2} + x", "x + sqrt(3)/2"), (r"\log_2 8", "3"), (r"\binom{5}{2}", "10"),
    (r"x \le 3", "x <= 3"), ("y = 2x + 1", "1 + 2x"), ("3 + 4i", "4i + 3"), ("x > 3", "3 < x"),
    ("(x, 2y)", "(x, y + y)"), (r"\frac{1}{x} + \frac{1}{y}", r"\frac{x+y}{xy}"),
    (r"\{x, y\}", r"\{y, x\}"), (r"\sin^2 x", r"1 - \cos^2 x"), (r"2\pi r", "2*pi*r"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
]  # fmt: skip
DIFFERENT = [
    ("x^2 + 1", "x^2 - 1"), ("2(x+y)", "2x + y"), ("x + 1", "y + 1"), (r"\log_2 8", "4"),
    (r"x \le 3", "x < 3"), ("x > 3", "x < 3"), ("(x, y)", "(y, x)"), (r"\binom{5}{2}", "5"),
    ("3 + 4i", "3 - 4i"), (r"2\pi r", r"\pi r^2"), (r"\sin x", r"\cos x"), ("x^2", "2x"),
]  # fmt: skip
ENDLESS = r"10^{10^{10}}"


@pytest_asyncio.fixture
async def equality() -> AsyncIterator[MathVerify]:
    async with MathVerify(timeout_s=60) as equality:
        yield equality


async def test_same_compares_formulas_symbolically(equality: MathVerify) -> None:
    wrong = [
        (a, b)
        for pairs, expected in ((SAME, True), (DIFFERENT, False))
        for a, b in pairs
        for x, y in ((a, b), (b, a))
        if await equality.same(Answer(x), Answer(y)) is not expected
    ]

    assert wrong == []


async def test_same_uses_the_latex_of_an_expression(equality: MathVerify) -> None:
    value = Answer("x*sqrt(y)/2", latex=r"\frac{x \sqrt{y}}{2}")

    assert await equality.same(value, Answer(r"\frac12 x\sqrt{y}")) is True
    assert await equality.same(value, Answer(r"\frac12 y\sqrt{x}")) is False


async def test_numbers_and_words_start_no_child() -> None:
    before = _children()
    async with MathVerify() as equality:
        assert await equality.same(Answer("1,234"), Answer("$1234")) is True
        assert await equality.same(Answer("Tuesday"), Answer("x + 1")) is False
        assert await equality.same(Answer("18"), Answer("x + 1")) is False
        assert _children() - before == set()


async def test_a_comparison_that_does_not_end_is_different_and_the_next_one_works() -> None:
    async with MathVerify(timeout_s=3.0) as equality, asyncio.timeout(90):
        assert await equality.same(Answer(ENDLESS), Answer("5")) is False
        assert await equality.same(Answer("x + 1"), Answer("1 + x")) is True


async def test_hostile_text_is_not_run(equality: MathVerify, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    attack = f"__import__('os').system('touch {mark}')"

    for text in (attack, f"${attack}$", rf"\frac{{1}}{{2}} + {attack}", rf"\text{{{attack}}}"):
        assert await equality.same(Answer(text), Answer("x + 1")) is False
    assert not mark.exists()


async def test_the_child_itself_runs_no_python_that_it_is_sent(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    attack = f"__import__('os').system('touch {mark}')"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-m", "cap_server.adapters.symbolic",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, env={},
    )  # fmt: skip
    texts = [attack, rf"\text{{{attack}}}", rf"\frac{{{attack}}}{{2}}", rf"\mathrm{{{attack}}}+x"]
    requests = [{"id": i, "a": [text], "b": ["x"]} for i, text in enumerate(texts)]

    out, _ = await child.communicate("".join(json.dumps(r) + "\n" for r in requests).encode())

    replies = [json.loads(line) for line in out.splitlines()]
    assert [reply.get("same") for reply in replies] == [None, False, False, False, False]
    assert not mark.exists()


async def test_a_child_that_died_is_replaced(equality: MathVerify) -> None:
    before = _children()
    assert await equality.same(Answer("x + 1"), Answer("1 + x")) is True
    for pid in _children() - before:
        os.kill(pid, signal.SIGKILL)

    assert await equality.same(Answer("x + 2"), Answer("2 + x")) is False
    assert await equality.same(Answer("x + 3"), Answer("3 + x")) is True


async def test_cancelled_callers_leave_the_others_their_own_answers(equality: MathVerify) -> None:
    pairs = [(f"x + {n}", f"{n} + x" if n % 2 else f"{n} - x") for n in range(20)]
    calls = [asyncio.create_task(equality.same(Answer(a), Answer(b))) for a, b in pairs]
    await asyncio.sleep(0.01)
    for call in calls[::3]:
        call.cancel()

    verdicts = await asyncio.gather(*calls, return_exceptions=True)

    for n, verdict in enumerate(verdicts):
        if n % 3:
            assert verdict is bool(n % 2)
        else:
            assert isinstance(verdict, asyncio.CancelledError)
    assert await equality.same(Answer("x + 100"), Answer("100 + x")) is True


async def test_leaving_ends_the_child() -> None:
    before = _children()
    async with MathVerify() as equality:
        await equality.same(Answer("x + 1"), Answer("1 + x"))
        assert len(_children() - before) == 1

    assert _children() - before == set()


async def test_leaving_while_comparing_ends_the_child() -> None:
    before = _children()
    async with MathVerify(timeout_s=60) as equality:
        call = asyncio.create_task(equality.same(Answer(ENDLESS), Answer("5")))
        while not _children() - before:  # noqa: ASYNC110  # nobody announces a child
            await asyncio.sleep(0.02)

    with pytest.raises(asyncio.CancelledError):
        await call
    assert _children() - before == set()


async def test_option_takes_the_letter_first_then_the_only_equal_choice(
    equality: MathVerify,
) -> None:
    choices = ("A. 12", "B. 1/2", "C. x + 1", "D. 12.0")

    assert await equality.option(Answer("(B)"), choices) == Answer("B")
    assert await equality.option(Answer("0.5"), choices) == Answer("B")
    assert await equality.option(Answer("1 + x"), choices) == Answer("C")
    assert await equality.option(Answer("12"), choices) is None
    assert await equality.option(Answer("13"), choices) is None
    assert await equality.option(Answer("13"), ()) is None


async def test_texts_too_long_for_a_parser_are_compared_as_they_are(equality: MathVerify) -> None:
    long = "x + " * 800 + "1"

    assert await equality.same(Answer(long), Answer(long)) is True
    assert await equality.same(Answer(long), Answer(long + " + 0")) is False


def _children() -> set[int]:
    return children(os.getpid())
