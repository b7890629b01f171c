"""Derived problems, twins, and training sets without leaks."""

from __future__ import annotations

import gzip
import json
import random
from fractions import Fraction
from itertools import combinations, islice
from pathlib import Path

import pytest

from cap_server.answers import extract
from cap_server.domain import Prior, Problem
from cap_server.prompts import PROMPT_FORMATS
from cap_training.data import ape210k, gsm8k
from cap_training.data.arithmetic import evaluate, parse
from cap_training.data.mentions import mentions, rewritten
from cap_training.data.mixture import Mixture, Recipe, Sources
from cap_training.data.perturb import perturbed
from cap_training.data.problems import SourceProblem, question_id
from cap_training.data.rows import ask, reply
from cap_training.data.split import split_of, without

BAKER = {
    "question": "A baker makes 25 loaves every day for six days and then sells 110 of them. "
    "How many loaves remain?",
    "solution": "He bakes 25*6 = <<25*6=150>>150 loaves.\n150-110 = <<150-110=40>>40 remain.",
    "answer": "40",
}


def baker() -> gsm8k.Solved:
    solved = gsm8k.solve(BAKER)
    assert solved is not None
    return solved


def test_calculator_annotations_become_one_program() -> None:
    assert baker().problem.program == "a=25*6\nanswer=a-110"
    assert baker().cot == "He bakes 25*6 = 150 loaves.\n150-110 = 40 remain."


@pytest.mark.parametrize(
    "change",
    [
        {"answer": "41"},
        {"solution": "It is 40."},
        {"solution": "<<40=40>>40"},
        {"solution": "<<25*x2=40>>40"},
    ],
)
def test_a_solution_without_a_program_to_its_answer_is_left_out(change: dict[str, str]) -> None:
    assert gsm8k.solve(BAKER | change) is None


def test_a_spoiled_solution_carries_its_mistake_to_a_wrong_end() -> None:
    rng = random.Random(1)
    spoiled = [gsm8k.spoiled(baker(), rng) for _ in range(30)]
    assert sum(each is not None for each in spoiled) > 15
    for text, answer in filter(None, spoiled):
        assert answer != "40"
        assert answer in text
        assert "<<" not in text


def test_chinese_equations_become_programs() -> None:
    row = {"question": "学校把135本练习本平均分给3个班，每班多少本？", "equation": "x=135/3"}
    problem = ape210k.solve(row | {"answer": "45"})
    assert problem is not None
    assert (problem.program, problem.answer) == ("answer=135/3", "45")
    assert ape210k.solve(row | {"answer": "44"}) is None
    percent = ape210k.solve(
        {"question": "825人增加了24%，多少人？", "equation": "x=825*(1+24%)", "answer": "1023"}
    )
    assert percent is not None
    assert evaluate(percent.sum) == 1023


def test_a_twin_has_other_numbers_in_question_and_sum_alike() -> None:
    rng = random.Random(2)
    for _ in range(50):
        twin = perturbed(baker().problem, rng)
        assert twin is not None
        loaves, days, sold = (mention.value for mention in mentions(twin.question))
        assert evaluate(twin.sum) == loaves * days - sold > 0
        assert twin.source == baker().problem.source
        assert split_of(twin.source) == split_of(baker().problem.source)


def test_words_stay_words_and_digits_digits() -> None:
    text = "Six boys and 1,200 girls at 2.50 each, at 3:30 on the 4th"
    found = mentions(text)
    assert [mention.value for mention in found] == [6, 1200, Fraction("2.5")]
    new = dict(zip(found, (Fraction(7), Fraction(3400), Fraction(4)), strict=True))
    assert rewritten(text, new).startswith("Seven boys and 3,400 girls at 4.00 each")


def test_a_number_that_is_mentioned_twice_is_not_changed() -> None:
    problem = SourceProblem("5 boys and 5 girls. How many?", parse("5+5"), origin="x")
    assert perturbed(problem, random.Random(1)) is None


def sources(folder: Path) -> Sources:
    path = folder / "gsm8k.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for number in range(60):
            row = BAKER | {
                "question": f"In shop {chr(97 + number % 26)}{number // 26}: {BAKER['question']}"
            }
            file.write(json.dumps(row) + "\n")
    return Sources(gsm8k=path)


def test_splits_share_no_question_no_source_and_no_wording(tmp_path: Path) -> None:
    recipe = Recipe(rows=600, shares={"synthetic_en": 1, "gsm8k": 1})
    splits = [
        list(Mixture(recipe, sources(tmp_path), split=split).rows())
        for split in ("train", "dev", "test")
    ]
    for first, second in combinations(splits, 2):
        for name in ("user", "id", "source"):
            assert not {getattr(row, name) for row in first} & {
                getattr(row, name) for row in second
            }
        wordings = [
            {(row.family, row.wording) for row in rows if row.origin == "synthetic"}
            for rows in (first, second)
        ]
        assert not wordings[0] & wordings[1]
    assert [len({row.user for row in rows}) for rows in splits] == [600, 600, 600]


def test_rows_are_in_the_words_of_the_server_and_read_by_it(tmp_path: Path) -> None:
    trained = PROMPT_FORMATS["trained"]
    for row in Mixture(Recipe(rows=300), sources(tmp_path)).rows():
        asked = trained.program_prompt(Problem(row.question, prior=Prior(cot=row.cot)))
        if row.kind == "critic":
            assert row.user == asked.messages[0].content + "\nCorrect?"
            assert row.completion == ("yes" if row.cot_right else "no")
            continue
        assert row.user == asked.messages[0].content
        program = trained.read_program(row.completion, complete=True)
        assert row.completion == reply(program, row.cot_right)
        assert row.columns()["completion"] == [{"role": "assistant", "content": row.completion}]


def test_the_answers_of_cots_are_told_apart_by_the_server(tmp_path: Path) -> None:
    told = 0
    for row in islice(Mixture(Recipe(rows=400), sources(tmp_path)).rows(), 400):
        if row.cot is None or row.cot_right is None or row.cot.startswith(("a=", "answer=")):
            continue
        answer = extract(row.cot)
        told += 1
        if row.cot_right:
            assert answer is not None
            assert float(answer.text) == pytest.approx(float(row.answer), abs=0.01), row.cot
    assert told > 100


def test_held_out_questions_and_their_twins_are_dropped(tmp_path: Path) -> None:
    rows = list(Mixture(Recipe(rows=200, shares={"gsm8k": 1}), sources(tmp_path)).rows())
    gone = rows[0].source
    kept = list(without(rows, {gone}))
    assert 0 < len(kept) < len(rows)
    assert gone not in {row.source for row in kept}


def test_a_question_is_known_again_in_other_case_and_punctuation() -> None:
    assert question_id("How many, Tom?") == question_id("how many tom")
    assert ask("Q?", None) == "Question: Q?"
