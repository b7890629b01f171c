"""Model-written text at its worst: long, deep, broken. Reading it stays quick and never raises."""

from __future__ import annotations

import pytest

from cap_server import answers
from cap_server.domain import Answer, Value

_LENGTH = 64_000
_HANGS_S = 20
"""A hundred times what any of these takes, and far below what quadratic time would."""

PIECES = [
    "9", "{", "}", "(", "[", "$", "*", "=", "-", ".", " ", "\n", "\t", "_", "`", "<<", "1,", "1 ",
    "1/", "1:", "1+", "(1/", "x = ", "^", "\\", r"\frac", r"\frac{", r"\sqrt[", r"\text{",
    r"\boxed{", r"\boxed{1}", "answer is ", "answer to ", "answer: ", "答：", "答案", "所以是",
    "十", "分之", "万", "5 hours ", "A: ", "#### ", "#### 1\n", "(A)", "B. ", "1 and ", "about ",
    "\ud800", "１", "½", "1e", "10^", "{,}", "2024-", "5:", "1 1/2 ", "。", "$a", "a_", "!",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("before", ["", "The answer is ", r"\boxed{"])
@pytest.mark.timeout(_HANGS_S)
def test_long_text_does_not_hang(before: str, piece: str) -> None:
    text = before + (piece * _LENGTH)[:_LENGTH]

    answers.extract(text)
    answers.extract(text, choices=("1", "2"))
    answers.from_value(Value("text", text))
    answers.option(text, ("1", "2"))
    answers.same(Answer(text), Answer("1"))
    answers.same(Answer(text[:3990]), Answer(text[:3980]))


def test_very_large_integers_are_compared_not_converted() -> None:
    number = "7" * _LENGTH

    assert answers.same(Answer(number), Answer(number[:-1] + "8")) is False
    assert answers.same(Answer(f"{number}.0"), Answer(number)) is True
    assert answers.from_value(Value("int", number)) == Answer(number)


@pytest.mark.parametrize(
    "text", ["10**10**10", "9**9**9**9", "(" * 900 + "1+1" + ")" * 900, "2^99999"]
)
def test_numbers_too_large_to_work_out_are_left_alone(text: str) -> None:
    assert answers.same(Answer(text), Answer("1")) is not True
    assert answers.same(Answer(text), Answer(text)) is True


@pytest.mark.parametrize(
    "text", ["1/0", "1 1/0", "1e999999", "1e-999999", "5:0", "0:0", "99:99", "2024-13-45"]
)
def test_numbers_that_are_none_do_not_raise(text: str) -> None:
    assert answers.same(Answer(text), Answer("7")) is False
    assert answers.same(Answer(text), Answer(text)) is True


@pytest.mark.parametrize(
    "text", ["__import__('os').system('ls')", "().__class__", "exec('1')", "x.y", "lambda: 1"]
)
def test_programs_are_words_that_no_parser_gets_to_see(text: str) -> None:
    assert answers.same(Answer(text), Answer("x + 1")) is False
    assert answers.latex(text) == ""
