"""Sums as programs."""

from __future__ import annotations

from fractions import Fraction

import pytest

from cap_training.data.arithmetic import SumError, evaluate, parse, program, steps, values, written


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("25*6-110", "a=25*6\nanswer=a-110"),
        ("12+5-3", "answer=12+5-3"),
        ("2*3*4", "answer=2*3*4"),
        ("100-(20+30)", "a=20+30\nanswer=100-a"),
        ("(9-4)*(9-4)", "a=9-4\nanswer=a*a"),
        ("80-80*25/100", "a=80*25\nb=a/100\nanswer=80-b"),
        ("7", "answer=7"),
    ],
)
def test_a_sum_becomes_a_program_with_one_kind_of_step_a_line(text: str, lines: str) -> None:
    assert program(parse(text)) == lines


@pytest.mark.parametrize("text", ["25*6-110", "1/3+1/6", "47//6", "47%6", "2.5*4-0.25", "8-3-2"])
def test_a_program_comes_to_what_its_sum_comes_to(text: str) -> None:
    sum_ = parse(text)
    names: dict[str, object] = {}
    exec(program(sum_), {}, names)  # a program that this test wrote
    assert values(steps(sum_))["answer"] == evaluate(sum_)
    assert float(evaluate(sum_)) == pytest.approx(names["answer"])


@pytest.mark.parametrize(
    "text", ["", "x", "f(2)", "2**9", "1;2", "__import__('os')", "2<3", "[1]", "True", "1e400*2"]
)
def test_what_is_no_sum_is_refused(text: str) -> None:
    with pytest.raises(SumError):
        evaluate(parse(text))


def test_a_division_by_nothing_is_refused() -> None:
    with pytest.raises(SumError):
        evaluate(parse("3/(2-2)"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(Fraction(6), "6"), (Fraction(5, 2), "2.5"), (Fraction(10, 3), "3.33"), (Fraction(-1), "-1")],
)
def test_numbers_are_written_as_people_write_them(value: Fraction, text: str) -> None:
    assert written(value) == text
