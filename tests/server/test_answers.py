"""The answer of a chain of thought, the answer that a program's value is, the option named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cap_server import answers
from cap_server.domain import Answer, Value

COTS = [
    # boxes
    (r"So the answer is \boxed{18}.", "18"),
    (r"\boxed{1} at first, then \boxed{\text{Yes}}", "Yes"),
    (r"Thus \boxed{\frac{\sqrt{3}}{2}}.", r"\frac{\sqrt{3}}{2}"),
    (r"\boxed{\boxed{5}}", "5"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"最终答案：\boxed{36}", "36"),
    (r"260 * $4000 = $<<260*4000=1040000>>1,040,000. Answer: \boxed{1,040,000}.", "1,040,000"),
    (r"\boxed{18} but the answer is 20", "18"),
    (r"\boxed{5", "5"),
    # hashes and final lines
    ("She has 5 left.\n#### 18", "18"),
    ("#### Step 3: add\nSo 3 + 4 = 7 in total. The answer is 8", "8"),
    ("60 of 100 people.\nA: 70,000", "70,000"),
    ("He spent 18+48=$<<18+48=66>>66.\nA: $66", "66"),
    ("20 toys / 26 = <<20/26=0.7692307692307693>>0.769 toys/hour.\nA: 0.769", "0.769"),
    ("He is short.\nA: -5", "-5"),
    ("**Answer: 18**", "18"),
    ("**Answer:** 18 apples", "18"),
    ("### Final Answer\n\n18", "18"),
    ("Answer: True", "True"),
    # "the answer is"
    ("They threw 300 - 12 = 288 balloons. The answer is 288.", "288"),
    ("The answer is **18**.", "18"),
    ("The answer is $142.", "142"),
    ("The answer is $18.50 per week.", "18.50"),
    ("The answer is 18 because 20 - 2 = 18.", "18"),
    ("His net profit is $40 - $200 = -$160. The answer is -$160.", "-160"),
    ("The answer is -60 kg.", "-60 kg"),
    ("The answer is 3 + 9 + 7 + 21 + 7 = 47.", "47"),
    ("The answer is 11 / 20 = 55% of the students.", "55%"),
    ("The answer is 6 1/2.", "6 1/2"),
    ("The answer is 285 000.", "285 000"),
    ("The answer is 136 (rounded to the nearest integer).", "136"),
    ("The answer is at least $26.", "26"),
    ("The answer is 4200 / hour.", "4200"),
    ("The answer is x = 3.", "3"),
    (r"The final answer is $\frac{1}{2}$.", r"\frac{1}{2}"),
    ("The answer is:\n\\[ 12 \\]", "12"),
    (r"The answer is \(12\).", "12"),
    ("The answer to the question is 12.", "12"),
    ("The answer is that he pays 18 dollars.", "18"),
    ("The answer is five.", "five"),
    ("The answer is 50 cents.", "50 cents"),
    ("The answer is €5.", "€5"),
    ("The answer is €5 per week.", "€5 per week"),
    ("The answer is $5 tickets.", "5"),
    ("The answer is 4 years.", "4 years"),
    ("The answer is 5. Wait, that is wrong. The answer is 7.", "7"),
    ("Final Answer: How many were left?\nThere are 50*10 - 20 = 30. The answer is 30.", "30"),
    # no number, or more than one
    ("The answer is Tuesday.", "Tuesday"),
    ("The answer is no, he can't.", "no"),
    ("The answer is 5:30 pm.", "5:30 pm"),
    ("The answer is 2024-05-06.", "2024-05-06"),
    ("The answer is May 6, 2024.", "May 6, 2024"),
    ("The answer is (3, 4).", "(3, 4)"),
    ("The answer is 3:4.", "3:4"),
    ("The answer is 4 blue and 6 red.", "4 blue and 6 red"),
    ("The answer is Paris, France.", "Paris, France"),
    # Chinese
    ("答案是45本。", "45"),
    ("答案为：12.5%", "12.5%"),
    ("答案：1(3/4)", "1(3/4)"),
    ("故答案为：(3/4)。", "(3/4)"),
    ("答：每班有45本练习本。", "45"),
    ("答：3天后还剩45本。", "45"),
    ("答：小明还剩3元5角。", "3元5角"),
    ("答：一共需要 1,250 元。", "1,250"),
    ("因此，答案是：**42**", "42"),
    ("135÷3=45（本），所以每班有45本。", "45"),
    ("所以今天是星期二。", "星期二"),
    ("所以 x = 962-480", "962-480"),
    ("答案：３：４", "３：４"),
    # thoughts before, chatter after, fields
    ("<think>So the answer is 21.</think>\nThe answer is 22.", "22"),
    ("<think>\\boxed{5}</think>\n\nThe total is $14.\n\n**Final Answer:** $14", "14"),
    ("<think>I guess \\boxed{7}</think>\nSo she has 9 apples left.", "9"),
    ("<think>It is 7.</think>\n", "7"),
    ("<think>It must be 7", "7"),
    ("**$1,250**\n\nLet me know if you'd like me to explain step 2!", "1,250"),
    ("### Answer\n**18**\n\nI worked it out in 3 steps.", "18"),
    ("So x = 5.\n\nI hope this helps with problem 3!\nIf you have 2 more, ask.", "5"),
    ('{"reasoning": "3*6=18", "answer": 18, "confidence": 0.9}', "18"),
    ('```json\n{"final_answer": "18 apples", "steps": 3}\n```', "18"),
    ("The answer is minus 5.", "-5"),
    ("The answer is negative five.", "negative five"),
    ("The answer is 6 and a half.", "6 and a half"),
    ("答案是3个小时20分钟", "3个小时20分钟"),
    # the last number, told from what stands after it
    ("Charisma has spent 2040 minutes on yoga.", "2040"),
    ("So, Audrey needs 35 questions to move onto the 7th grade.", "35"),
    ("So it is $20 + $72 = $92. So, a bag of marbles would cost $92 after 36 months.", "92"),
    ("He is still 180 - 135 = 45 miles away from home at the end of those 4 hours.", "45"),
    ("He finishes the race in 7 - 1 = 6th place.", "6"),
    ("So the total is **45** in 3 days.", "45"),
    ("The profit was $65,000.", "65,000"),
    ("She runs 2/3", "2/3"),
    ("It was 7 - 5", "5"),
    ("It fell to -5 degrees overnight", "-5"),
    ("小明走了3千米", "3"),
    ("x = 4.2 / 0.7\nx = 6\n\nSo, Bubbles should buy 6 goats to have 30% goats.", "6"),
]  # fmt: skip

SILENT = [
    "",
    "   \n",
    "I do not know.",
    "They bought 12. The answer cannot be determined without knowing the value of x.",
    "共有12个，但无法确定答案。",
    "[](){}<>?!",
]

CHOICES = ("12", "14", "16", "18")
OPTIONS = [
    ("The answer is (B).", "B"),
    ("The answer is B", "B"),
    ("**Answer: B**", "B"),
    ("Answer: (a)", "A"),
    (r"\boxed{B}", "B"),
    (r"\boxed{\text{(B)}}", "B"),
    ("The correct option is (D) 18.", "D"),
    ("The answer is B. 14", "B"),
    ("The answer is choice A because 12 fits", "A"),
    ("The answer is 16 (C)", "C"),
    ("So it is (C)", "C"),
    ("So B is the answer.", "B"),
    ("Therefore, option B is correct.", "B"),
    ("故选：B", "B"),
    ("选B", "B"),
    ("应选C", "C"),
    ("答案选D", "D"),
    ("答案：C", "C"),
    ("正确答案是B。", "B"),
    ("C", "C"),
    ("**C**", "C"),
    ("<think>maybe (B)</think>\n\n(C)", "C"),
    ("C. 16", "C"),
    ("So the correct choice is C.", "C"),
    ("A is wrong, B is wrong, so C.", "C"),
    ("正确选项为C", "C"),
    ("正确答案：C选项", "C"),
    ('{"answer": "C"}', "C"),
    ("C is 3 times 6, which is 18", "18"),
    ("C. 17", "17"),
    ("The answer is 14.", "14"),
    ("Answer: E", "E"),
]

VALUES = [
    (Value("int", "18"), "18"),
    (Value("int", "9" * 6000), "9" * 6000),
    (Value("float", "18.0"), "18"),
    (Value("float", "0.30000000000000004"), "0.3"),
    (Value("float", "33.333333333333336"), "33.3333333333"),
    (Value("float", "123456789012.5"), "123456789012.5"),
    (Value("float", "1e+300"), "1e+300"),
    (Value("fraction", "1/3"), "1/3"),
    (Value("decimal", "18.50"), "18.5"),
    (Value("decimal", "0.00"), "0"),
    (Value("complex", "(1+2j)"), "1 + 2i"),
    (Value("complex", "(3+0j)"), "3"),
    (Value("bool", "True"), "True"),
    (Value("date", "2024-05-06 00:00:00"), "2024-05-06"),
    (Value("text", "The answer is 18"), "18"),
    (Value("text", "Total: $18"), "18"),
    (Value("text", "18 apples"), "18"),
    (Value("text", "Tom has 18 apples."), "18"),
    (Value("text", "3 boxes with 5 apples"), "3 boxes with 5 apples"),
    (Value("text", "Alice: 5, Bob: 6"), "Alice: 5, Bob: 6"),
    (Value("text", "first 3\nthen x = 5"), "5"),
    (Value("text", "time: 5:30 pm"), "5:30 pm"),
    (Value("text", "Tuesday"), "Tuesday"),
    (Value("list", "[3, 4]", items=(Value("int", "3"), Value("float", "4.0"))), "[3, 4]"),
    (Value("list", "{3, 4}", items=(Value("int", "3"), Value("int", "4"))), "{3, 4}"),
    (Value("list", "[3]", items=(Value("int", "3"),)), "3"),
    (Value("list", "[]", items=()), "[]"),
    (Value("dict", "{x: 3}", entries=((Value("expression", "x"), Value("int", "3")),)), "3"),
]


@pytest.mark.parametrize(("cot", "expected"), COTS)
def test_extract_reads_the_answer_that_a_cot_comes_to(cot: str, expected: str) -> None:
    assert answers.extract(cot) == Answer(expected)


@pytest.mark.parametrize("cot", SILENT)
def test_extract_finds_nothing_where_nothing_is_stated(cot: str) -> None:
    assert answers.extract(cot) is None


@pytest.mark.parametrize(("cot", "expected"), OPTIONS)
def test_extract_reads_options_by_letter(cot: str, expected: str) -> None:
    assert answers.extract(cot, choices=CHOICES) == Answer(expected)


@pytest.mark.parametrize(("value", "expected"), VALUES)
def test_a_value_becomes_a_tidy_answer(value: Value, expected: str) -> None:
    assert answers.from_value(value) == Answer(expected)


def test_an_expression_keeps_its_latex() -> None:
    value = Value("expression", "sqrt(2)/2", latex=r"\frac{\sqrt{2}}{2}")

    assert answers.from_value(value) == Answer("sqrt(2)/2", r"\frac{\sqrt{2}}{2}")


@pytest.mark.parametrize(
    "value",
    [
        Value("float", "nan"),
        Value("float", "-inf"),
        Value("decimal", "NaN"),
        Value("complex", "(nan+1j)"),
        Value("expression", "zoo"),
        Value("none", "None"),
        Value("text", " \n"),
        Value("text", "None"),
    ],
)
def test_a_value_that_is_no_answer_is_none(value: Value) -> None:
    assert answers.from_value(value) is None


@pytest.mark.parametrize(
    "text", ["B", "b", "(B)", "B.", "B) 14", "B: 14", "B、14", "option B", "选B", "选项：B",
     "**B**", "（Ｂ）"]
)  # fmt: skip
def test_option_reads_letter_forms(text: str) -> None:
    assert answers.option(text, CHOICES) == 1


@pytest.mark.parametrize("text", ["", "14", "E", "Bob", "A man", "B14", "14 B", "AB"])
def test_option_reads_nothing_else(text: str) -> None:
    assert answers.option(text, CHOICES) is None


def test_labels_of_choices_are_dropped_only_if_all_are_in_order() -> None:
    assert answers.unlabelled(["A. 12", "(B) 14"]) == ["12", "14"]
    assert answers.unlabelled(["A. Smith", "C. Jones"]) == ["A. Smith", "C. Jones"]


@settings(deadline=None)
@given(st.integers(-(10**15), 10**15))
def test_a_number_survives_every_way_to_state_it(number: int) -> None:
    for cot in (
        f"The answer is {number}.",
        f"so 12 + 3 = 15\n#### {number:,}",
        f"**Answer: {number:,}**",
        rf"Hence $\boxed{{{number}}}$",
        f"答案是{number}。",
        f"The answer is ${number:,} because 7 > 5.",
    ):
        found = answers.extract(cot)
        assert found is not None
        assert answers.same(found, Answer(str(number))) is True


@settings(deadline=None)
@given(st.text(), st.lists(st.text(), max_size=4))
def test_extract_never_raises_and_never_returns_an_empty_answer(
    cot: str, choices: list[str]
) -> None:
    found = answers.extract(cot, choices=choices)

    assert found is None or found.text.strip()


@settings(deadline=None)
@given(st.floats(allow_subnormal=False))
def test_a_float_value_is_the_same_as_its_exact_text(number: float) -> None:
    found = answers.from_value(Value("float", repr(number)))

    assert found is None or answers.same(found, Answer(repr(number))) is True


@settings(deadline=None)
@given(st.text(), st.sampled_from(["int", "float", "fraction", "decimal", "complex", "text"]))
def test_from_value_never_raises(text: str, kind: str) -> None:
    value = Value(kind, text)  # type: ignore[arg-type]  # any of the types, each with any text

    found = answers.from_value(value)

    assert found is None or found.text.strip()
