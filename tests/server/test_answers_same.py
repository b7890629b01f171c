"""When two answers are the same: a table of real-looking pairs, and laws that hold for any text."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cap_server import answers
from cap_server.domain import Answer

SAME = [
    # numbers
    ("18", "18.0"), ("18", "+18"), ("18", "(18)"), ("18", "[18]"), ("18", "18."),
    ("0.5", ".5"), ("-5", "−5"), ("-5", "－５"), ("１２", "12"), ("3.0e5", "300000"),
    ("1.5e-3", "0.0015"), ("3 × 10^5", "300000"), ("007", "7"), ("-0", "0"),
    ("0.1", "0.10000000001"), ("5.55111512313e-17", "0"), ("1_000", "1000"),
    # thousands
    ("1,234", "1234"), ("$1,234.00", "1234"), ("1,234,567.89", "1234567.89"),
    ("1 234 567", "1234567"), ("1,00,000", "100000"), ("1{,}234", "1234"),
    # fractions, mixed numbers, rounding
    ("1/2", "0.5"), (r"\frac{1}{2}", "0.5"), (r"\tfrac12", "1/2"), (r"\dfrac{3}{4}", "0.75"),
    ("½", "0.5"), ("1 1/2", "1.5"), ("1(1/2)", "1.5"), (r"1\frac{1}{2}", "3/2"), ("2½", "2.5"),
    ("1又1/2", "1.5"), ("三分之二", "2/3"), ("3分之2", "2/3"), ("(3/4)", "0.75"),
    ("33.33", "100/3"), ("0.67", "2/3"), ("16.67", "16.6666666667"), ("0.3333333333", "1/3"),
    ("160/(1-20%)", "200"), ("(3/10)/(14/15)", "9/28"), ("3:4", "0.75"), ("3:4", "3/4"),
    ("2:4:6", "1:2:3"), ("3 to 4", "3:4"), ("3：4", "3比4"),
    # roots and pi
    (r"\frac{\sqrt{3}}{2}", "sqrt(3)/2"), (r"2\sqrt{2}", "sqrt(8)"), (r"\sqrt{16}", "4"),
    (r"2\pi", "6.283185307179586"), ("2^10", "1024"), ("2**10", "1024"), (r"\sqrt[3]{27}", "3"),
    # money
    ("1234 dollars", "$1,234"), ("$18.50", "18.5"), ("50 cents", "$0.50"), ("18元", "18"),
    ("¥18", "18元"), ("￥18.5", "18.5"), ("USD 20", "$20"), ("3元5角", "3.5元"),
    ("$1.5M", "1500000"),
    ("-$10.00", "$-10"), (r"\$18", "18"), ("5 pounds", "£5"),
    # percent
    ("50%", "50"), ("50%", "0.5"), ("50％", "1/2"), ("12.5%", "0.125"), ("50 percent", "50%"),
    ("百分之五十", "0.5"), (r"50\%", "50%"), ("33.33%", "1/3"),
    # units
    ("5 apples", "5"), ("5 apples", "5 oranges"), ("5 apple", "5 apples"), ("5 km", "5"),
    ("5 km", "5000 m"), ("90 minutes", "1.5 hours"), ("5 hours 30 minutes", "5.5 hours"),
    ("2 dozen", "2"), ("5 m^2", "5 square meters"), ("5平方米", "5 m²"),
    ("60 km/h", "60 kilometers per hour"), ("45本", "45"), ("90°", "90"), (r"5\text{ km}", "5 km"),
    ("4 years old", "4"), ("3千克", "3000克"), (r"90^\circ", "90 degrees"),
    # scales and spelled numbers
    ("1.5万", "15000"), ("3亿", "300000000"), ("1.5 million", "1,500,000"), ("十八", "18"),
    ("三百零五", "305"), ("eighteen", "18"), ("twenty-one apples", "21"), ("five hundred", "500"),
    ("三点五", "3.5"), ("负五", "-5"), ("minus 5", "-5"), ("negative five", "-5"),
    ("one half", "1/2"),
    ("three quarters", "0.75"), ("two-thirds of the cake", "2/3"), ("6 and a half", "6.5"),
    ("two and a quarter hours", "135 minutes"), ("3个小时20分钟", "200分钟"),
    (r"24\text{ cm}^2", "24 cm^2"), (r"24 \, \mathrm{cm}^3", "24 cubic centimeters"),
    # dates and times
    ("2024-05-06", "May 6, 2024"), ("2024年5月6日", "May 6, 2024"), ("6 May 2024", "2024/5/6"),
    ("5:30 pm", "17:30"), ("5:30 p.m.", "5:30 PM"), ("5:30", "5:30 pm"), ("下午5点半", "5:30 pm"),
    ("Monday, May 6, 2024", "2024-05-06"), ("2024-05-06 00:00:00", "2024-05-06"),
    # words
    ("Yes", "yes."), ("Yes", "True"), ("true", "是"), ("No", "False"), ("The Cat", "cat"),
    ("Tuesday", "tuesday!"), (r"\text{Tuesday}", "Tuesday"), ("**Paris**", "paris"),
    # names, lists, sets
    ("x = 3", "3"), ("x=3", "x = 3.0"), ("3 + 4 = 7", "7"), ("$18$", "18"), (r"\(18\)", "18"),
    ("(3, 4)", "[3, 4]"), ("3, 4", "(3,4)"), ("3 and 4", "[3, 4]"), ("{1, 2}", "{2, 1}"),
    (r"\{1, 2\}", "[2, 1]"), ("x = 3, y = 4", "(3, 4)"), ("(1/2, 0.25)", r"(0.5, \frac14)"),
    ("[(1, 2), (3, 4)]", "[[1, 2], [3, 4]]"), ("1、2、3", "[1, 2, 3]"),
]  # fmt: skip

DIFFERENT = [
    # numbers
    ("18", "19"), ("18", "-18"), ("5", "−5"), ("1000000", "1000001"), ("18", "18.5"), ("18", "180"),
    ("0.5", "0.05"), ("12.34", "12.344"), ("12.3", "12.34"), ("0.7", "2/3"), ("33", "100/3"),
    ("33.3", "100/3"), ("33.34", "100/3"), ("0.06", "0.0625"), ("3.1", "22/7"), ("1e5", "1e6"),
    ("0", "1e-12"), ("0", "0.001"), ("6.6e-34", "0"), ("1/2", "1/3"), ("1 1/2", "11/2"),
    ("21/2", "2 1/2"),
    ("1(1/2)", "1/2"), ("2/3", "3/2"), ("123456789012345678", "123456789012345679"),
    ("10^3", "10^4"),
    # thousands and lists
    ("1,234", "1, 234"), ("1,234", "1.234"), ("1,234", "234"), ("(1, 234)", "1234"),
    # times, dates and ratios
    ("5:30", "5.5"), ("5:30", "5.3"), ("5:30", "530"), ("5:30 am", "5:30 pm"), ("5:30", "5:31"),
    ("12:00 am", "12:00 pm"), ("3:4", "4:3"), ("3:4", "34"), ("1:2:3", "1:2:4"), ("3:4", "3:4:5"),
    ("2024-05-06", "2024-06-05"), ("2024-05-06", "2013"), ("May 6", "May 7"),
    ("2024-05-06", "2025-05-06"),
    ("2024年5月6日", "2024年5月16日"),
    # money
    ("$5", "€5"), ("5 cents", "$5"), ("£5", "$5"), ("5元", "$5"), ("5角", "5元"), ("5 yen", "5元"),
    ("$5.00", "$5.01"), ("$5 tickets", "€5 tickets"), ("$1.5M", "$1.5"),
    # percent
    ("50%", "0.05"), ("50%", "5"), ("0.5%", "50%"), ("50", "0.5"), ("5%", "50%"), ("12.5%", "1.25"),
    # units
    ("5 km", "5 m"), ("5 hours", "5 minutes"), ("5 kg", "5 g"), ("5 days", "5 weeks"),
    ("5 km", "5 kg"),
    ("5 m", "5 m^2"), ("5 km/h", "5 m/s"), ("5 feet", "5 inches"), ("5小时", "5分钟"),
    ("5米", "5厘米"),
    ("1 month", "1 year"), ("5 hours", "300"), ("2 dozen eggs", "24 dozen eggs"), ("2 dozen", "24"),
    ("$5 per week", "$5 per day"), ("20°C", "20°F"), ("5 hours 30 minutes", "5.3 hours"),
    ("3千克", "3克"),
    # scales and spelled numbers
    ("1.5万", "1.5"), ("3亿", "3万"), ("1.5 million", "1.5 billion"), ("十八", "80"),
    ("eighteen", "80"),
    ("fourteen", "forty"), ("三百零五", "350"),
    # roots and pi
    (r"\sqrt{2}", "2"), (r"\sqrt{2}", "1.4"), (r"\pi", "3.1416926"), (r"2\sqrt{3}", r"3\sqrt{2}"),
    (r"\frac{\sqrt{3}}{2}", r"\frac{\sqrt{2}}{3}"), ("2^3", "3^2"),
    # words
    ("minus 5", "5"), ("a third", "3"), ("half", "2"), ("two thirds", "2.3"), ("三点五", "35"),
    ("6 and a half", "6"), ("third place", "1/3"), ("a third place", "1/3"), ("不能", "能"),
    ("Yes", "No"), ("True", "False"), ("是", "否"), ("Tuesday", "Thursday"),
    ("cat", "cats and dogs"),
    ("Paris", "London"), ("x", "y"), ("A", "B"), ("18", "eight"), ("18", "Tuesday"), ("yes", "1"),
    ("no solution", "0"), ("星期二", "星期三"), ("???", "!!!"), ("-x", "x"), ("2x", "2"),
    ("x + 1", "3"),
    ("Tom has 18 apples and 3 pears", "18"), ("18 of the 20", "18"),
    # lists and sets
    ("(3, 4)", "(4, 3)"), ("(3, 4)", "(3, 5)"), ("(3, 4)", "(3, 4, 5)"), ("(3, 4)", "3"),
    ("(3, 4)", "7"),
    ("{1, 2}", "{1, 3}"), ("{1, 2}", "{1, 2, 3}"), ("[3, 4)", "[3, 4]"), ("(3, 4]", "(3, 4)"),
    ("x = 3, y = 4", "x = 4, y = 3"), ("3", "3, 4"), ("x = 3", "4"), ("3 + 4 = 7", "3"),
    # nothing
    ("", ""), ("", "0"), (" ", " "),
]  # fmt: skip

UNDECIDED = [
    ("x^2 + 1", "1 + x^2"), ("2(x+y)", "2x + 2y"), (r"\log_2 8", "3"), (r"\binom{5}{2}", "10"),
    (r"x \le 3", "x < 3"), ("10^{10^{10}}", "5"), ("(x, 2y)", "(x, y + y)"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), SAME)
def test_same_holds_for_two_ways_to_write_one_answer(a: str, b: str) -> None:
    assert answers.same(Answer(a), Answer(b)) is True
    assert answers.same(Answer(b), Answer(a)) is True


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_same_tells_two_answers_apart(a: str, b: str) -> None:
    assert answers.same(Answer(a), Answer(b)) is False
    assert answers.same(Answer(b), Answer(a)) is False


@pytest.mark.parametrize(("a", "b"), UNDECIDED)
def test_same_leaves_formulas_to_symbolic_mathematics(a: str, b: str) -> None:
    assert answers.same(Answer(a), Answer(b)) is None
    assert answers.same(Answer(b), Answer(a)) is None


def test_table_is_large_and_half_of_it_differs() -> None:
    assert len(SAME) + len(DIFFERENT) >= 240
    assert len(DIFFERENT) >= len(SAME) - 10


def test_same_reads_the_latex_of_an_expression() -> None:
    value = Answer("Rational(1, 2)*sqrt(3)", latex=r"\frac{\sqrt{3}}{2}")

    assert answers.same(value, Answer(r"\frac{\sqrt{3}}{2}")) is True
    assert answers.same(value, Answer("sqrt(3)/2")) is True


def test_same_compares_integers_of_thousands_of_digits_exactly() -> None:
    large = "1" + "0" * 5000

    assert answers.same(Answer(large), Answer(large + ".0")) is True
    assert answers.same(Answer(large), Answer(large[:-1] + "1")) is False
    assert answers.same(Answer(large), Answer("5")) is False


any_text = st.text() | st.text(alphabet="0123456789.,/%$€元万:-+*^(){}[]\\ xyfracsqtpikmhab=\n")


@settings(deadline=None)
@given(any_text, any_text)
def test_same_is_symmetric_and_never_raises(a: str, b: str) -> None:
    assert answers.same(Answer(a), Answer(b)) is answers.same(Answer(b), Answer(a))


@settings(deadline=None)
@given(any_text.filter(lambda text: bool(text.strip())))
def test_same_is_reflexive(text: str) -> None:
    assert answers.same(Answer(text), Answer(text)) is True
    assert answers.same(Answer(text), Answer(f" {text} ")) is True


@settings(deadline=None)
@given(st.integers(-(10**40), 10**40))
def test_thousands_separators_do_not_count(number: int) -> None:
    for written in (f"{number:,}", f"${number:,}", f"{number:,}.00", f"{number} apples"):
        assert answers.same(Answer(written), Answer(str(number))) is True


@settings(deadline=None)
@given(st.integers(), st.integers())
def test_integers_are_the_same_only_if_equal(a: int, b: int) -> None:
    assert answers.same(Answer(str(a)), Answer(str(b))) is (a == b)


@settings(deadline=None)
@given(st.fractions(max_denominator=10**6))
def test_a_fraction_is_the_same_as_its_decimal(number: Fraction) -> None:
    above, below = number.numerator, number.denominator

    assert answers.same(Answer(f"{above}/{below}"), Answer(repr(above / below))) is True
    assert answers.same(Answer(rf"\frac{{{above}}}{{{below}}}"), Answer(str(number))) is True


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 999), st.integers(2, 1000))
def test_a_mixed_number_is_the_sum_of_its_parts(whole: int, above: int, below: int) -> None:
    total = Answer(str(whole + Fraction(above, below)))

    for written in (
        f"{whole}({above}/{below})",
        rf"{whole}\frac{{{above}}}{{{below}}}",
        f"{whole} {above}/{below}",
    ):
        assert answers.same(Answer(written), total) is True


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_a_float_is_the_same_as_itself_within_noise(number: float) -> None:
    assert answers.same(Answer(repr(number)), Answer(f"{number:.17g}")) is True
