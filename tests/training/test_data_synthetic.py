"""Problems from families."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from cap_training.data.arithmetic import evaluate, numbers, written
from cap_training.data.cots import right_cot, wrong_cot
from cap_training.data.grammar import FamilyError, read
from cap_training.data.mentions import mentions
from cap_training.data.problems import SourceProblem
from cap_training.data.synthetic import Draw, Grammar, is_hidden

ENGLISH = Grammar.of("en")
CHINESE = Grammar.of("zh")
GRAMMARS = {"en": ENGLISH, "zh": CHINESE}
FAMILIES = [(g.language, family.name) for g in GRAMMARS.values() for family in g.families]

CONSTANTS = frozenset(map(str, (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 24, 25, 60, 100, 1000)))
"""What programs may know without having read it: wheels, days, minutes, parts, percent."""


def test_there_are_many_families_in_two_languages() -> None:
    assert len(ENGLISH.families) >= 60
    assert len(CHINESE.families) >= 20


@pytest.mark.parametrize(("language", "family"), FAMILIES)
def test_every_family_makes_whole_problems_in_seen_and_unseen_wordings(
    language: str, family: str
) -> None:
    rng = random.Random(family)
    for unseen in (False, True):
        for _ in range(6):
            problem = GRAMMARS[language].problem(rng, Draw(unseen=unseen, family=family))
            assert not re.search(r"[{}\[\]<>|]|%[a-z]", problem.question), problem.question
            assert evaluate(problem.sum) >= 0
            assert problem.unseen is unseen
            read_off = {written(mention.value) for mention in mentions(problem.question)}
            read_off |= set(re.findall(r"\d+(?:\.\d+)?", problem.question))
            used = {number.text for number in numbers(problem.sum)}
            assert used - read_off <= CONSTANTS, (problem.question, problem.program)


def test_the_same_seed_draws_the_same_problems() -> None:
    first, second = (
        [ENGLISH.problem(rng).question for _ in range(50)] for rng in map(random.Random, (7, 7))
    )
    assert first == second
    assert len(set(first)) == 50


def test_unseen_compositions_are_never_drawn_for_training() -> None:
    rng = random.Random(3)
    seen = {ENGLISH.problem(rng).family for _ in range(1500)}
    hidden = {ENGLISH.problem(rng, Draw(composed=True)).family for _ in range(200)}
    families = {family.name: family for family in (*ENGLISH.families, *ENGLISH.then)}
    for name in seen | hidden:
        if "+" in name:
            first, second = (families[part] for part in name.split("+"))
            assert is_hidden(first, second) is (name in hidden)
    assert any("+" in name for name in seen)
    assert not seen & hidden


def test_a_wrong_cot_ends_in_a_wrong_answer_and_a_right_one_in_the_right_one() -> None:
    rng = random.Random(5)
    mistakes = set()
    for _ in range(400):
        problem = ENGLISH.problem(rng)
        assert right_cot(problem, rng).answer == problem.answer
        if (wrong := wrong_cot(problem, rng)) is not None:
            mistakes.add(wrong.mistake)
            assert wrong.answer != problem.answer
            if not wrong.text.startswith(("answer=", "a=", "z=")):
                assert wrong.answer in wrong.text
    assert mistakes == {"slip", "operation", "dropped", "misread", "swapped", "extra"}


@pytest.mark.parametrize(
    "text",
    [
        "@ a\nlet n=2..9\nf {n} things",
        "@ a\nq How many?",
        "@ a\nhello",
        "@ a\nlet n=2..9\nwhere n>3\n= n\nw {n}?",
        "%macro without a sign",
    ],
)
def test_a_family_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(FamilyError):
        read(text, language="en")


def test_a_family_without_numbers_that_fit_is_given_up() -> None:
    families, macros = read(
        "@ none\nlet a=2..9 b=2..9\nwhere a+b<3\nf {a}, {b}.\n= a+b\nq ?", language="en"
    )
    grammar = Grammar("en", families, (), {"none": macros}, ENGLISH.kinds)
    with pytest.raises(FamilyError):
        grammar.problem(random.Random(1))


def test_the_docs_family_can_be_read_and_drawn_from() -> None:
    page = (Path(__file__).parents[2] / "docs/training-data.md").read_text("utf-8")
    text = "@ groups" + page.partition("\n@ groups")[2].partition("```")[0]
    families, macros = read(text, language="en")
    grammar = Grammar("en", families, (), {"groups_loss": macros}, ENGLISH.kinds)
    for unseen in (False, True):
        problem = grammar.problem(random.Random(1), Draw(unseen=unseen))
        assert len(numbers_of(problem)) == 3


def numbers_of(problem: SourceProblem) -> list[str]:
    return [number.text for number in numbers(problem.sum)]
