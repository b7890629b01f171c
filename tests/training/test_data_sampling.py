"""Sampling, judging and labelling, and rows from a server's log."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cap_server.adapters.math_verify import MathVerify
from cap_server.domain import Limits, Sample
from cap_server.errors import ModelUnavailableError
from cap_server.testing import FakeSandbox, ScriptedModel
from cap_training.data.journal import Journal
from cap_training.data.labelling import (
    Judgement,
    judge,
    preferences,
    prompt_completions,
    unpaired_rows,
)
from cap_training.data.refinements import Trust, read_refinements
from cap_training.data.sampling import Labelled, Plan, read_labelled, sample

PROBLEMS = [Labelled(f"p{n}", f"What is {n} plus {n}?", str(2 * n)) for n in range(1, 6)]
PLAN = Plan(cots=2, programs=2, concurrency=3)


def spent(text: str, tokens: int = 10) -> Sample:
    return Sample(text, completion_tokens=tokens)


@pytest.fixture
async def equality() -> AsyncIterator[MathVerify]:
    async with MathVerify() as rules:
        yield rules


async def test_every_problem_gets_its_draws_and_the_journal_keeps_them(tmp_path: Path) -> None:
    model = ScriptedModel([spent("a"), spent("b")])
    with Journal(tmp_path / "j.jsonl") as journal:
        assert await sample(PROBLEMS, model, PLAN, journal) == 200
    with Journal(tmp_path / "j.jsonl") as journal:
        keys = {(line["id"], line["task"], line["index"]) for line in journal.lines}
    assert len(keys) == 20
    assert {sampling.seed for sampling in model.samplings}.__len__() == 20


async def test_a_run_that_was_killed_draws_only_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        await sample(PROBLEMS, ScriptedModel([spent("a")]), PLAN, journal)
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:13]) + lines[13][:20], "utf-8")
    model = ScriptedModel([spent("a")])
    with Journal(path) as journal:
        assert len(journal.lines) == 13
        await sample(PROBLEMS, model, PLAN, journal)
    assert len(model.prompts) == 7
    assert [json.loads(line)["id"] for line in path.read_text("utf-8").splitlines()].__len__() == 20


async def test_the_budget_of_tokens_ends_a_run_and_counts_earlier_ones(tmp_path: Path) -> None:
    plan = Plan(cots=2, programs=2, concurrency=1, tokens=55)
    model = ScriptedModel([spent("a")])
    for _ in range(2):
        with Journal(tmp_path / "j.jsonl") as journal:
            assert await sample(PROBLEMS, model, plan, journal) == 60
    assert len(model.prompts) == 6


async def test_a_model_that_stays_away_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    plan = Plan(cots=2, programs=0, concurrency=1, first_wait_s=0)
    model = ScriptedModel([spent("a"), ModelUnavailableError("It is away.")])
    with (
        Journal(tmp_path / "j.jsonl") as journal,
        pytest.raises(ModelUnavailableError, match="It is away"),
    ):
        await sample(PROBLEMS, model, plan, journal)
    with Journal(tmp_path / "j.jsonl") as journal:
        assert [line["text"] for line in journal.lines] == ["a"]


def test_problems_without_an_answer_are_named(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text('{"question": "Q", "answer": 1}\n{"question": "Q"}\n', "utf-8")
    with pytest.raises(ValueError, match="row 2"):
        list(read_labelled(path))


async def judged(equality: MathVerify) -> Judgement:
    """Judge one problem whose answer is 18: three programs, two of them different and one right."""
    lines = [
        ("program", 0, "```python\nanswer = 3 * 6\n```", True),
        ("program", 1, "```python\nanswer = 3 * 6\n```", True),
        ("program", 2, "```python\nanswer = 3 + 6\n```", True),
        ("program", 3, "```python\nanswer = 1", False),
        ("cot", 0, "3 * 6 = 18. The answer is $18.00.", True),
        ("cot", 1, "3 + 6 = 9. The answer is 9.", True),
        ("cot", 2, "It is 1", False),
    ]
    drawn = [
        {"id": "p", "task": task, "index": index, "text": text, "complete": complete}
        for task, index, text, complete in lines
    ]
    sandbox = FakeSandbox({"answer = 3 * 6": 18, "answer = 3 + 6": 9})
    problems = [Labelled("p", "What are 3 bags of 6 worth in dollars?", "18")]
    found = judge(problems, drawn, sandbox=sandbox, equality=equality, limits=Limits())
    (judgement,) = [each async for each in found]
    assert sandbox.executed == ["answer = 3 * 6", "answer = 3 + 6"]
    return judgement


async def test_texts_are_judged_by_their_answers_once_each(equality: MathVerify) -> None:
    judgement = await judged(equality)
    assert [(each.answer, each.right) for each in judgement.programs] == [
        ("18", True),
        ("9", False),
    ]
    assert [each.right for each in judgement.cots] == [True, False]


async def test_stage_one_never_teaches_a_wrong_program(equality: MathVerify) -> None:
    rows = list(prompt_completions(await judged(equality), random.Random(1)))
    programs = [row for row in rows if row.kind == "program"]
    assert {row.cot_right for row in programs} == {None, True, False}
    for row in programs:
        verdict = {None: "", True: "\n# prior: right", False: "\n# prior: wrong"}[row.cot_right]
        assert row.completion == "answer = 3 * 6" + verdict
    assert {(row.cot_right, row.completion) for row in rows if row.kind == "critic"} == {
        (True, "yes"),
        (False, "no"),
    }


async def test_stage_two_prefers_the_right_program(equality: MathVerify) -> None:
    (pair,) = preferences(await judged(equality), random.Random(1))
    assert pair["chosen"][0]["content"].startswith("answer = 3 * 6")
    assert pair["rejected"][0]["content"].startswith("answer = 3 + 6")


async def test_unpaired_rows_want_right_programs_only(equality: MathVerify) -> None:
    rows = list(unpaired_rows(await judged(equality), random.Random(1)))
    assert {row["label"] for row in rows} == {True, False}
    for row in rows:
        assert row["completion"][0]["content"].startswith("answer = 3 * 6") is row["label"]


def logged(**more: object) -> dict[str, object]:
    return {
        "question": "What is 3 times 6?",
        "cot": "3 * 6 = 26. The answer is 26.",
        "original_answer": "26",
        "answer": "18",
        "confidence": 0.95,
        "candidates": [
            {"kind": "program", "text": "answer=3*6", "answer": "18"},
            {"kind": "program", "text": "answer=3+6", "answer": "9"},
            {"kind": "program", "text": "answer=", "answer": None},
        ],
    } | more


async def test_a_servers_log_teaches_what_it_was_sure_of(
    tmp_path: Path, equality: MathVerify
) -> None:
    path = tmp_path / "log.jsonl"
    rows = [logged(), logged(confidence=0.5), logged(confidence=0.5, reference="9")]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    found = [each async for each in read_refinements(path, equality=equality, trust=Trust(0.9))]
    rights = [[program.right for program in each.programs] for each in found]
    assert rights == [[True, False, False], [False, True, False]]
    assert [each.cots[0].right for each in found] == [False, False]


async def test_a_line_that_is_no_refinement_is_named(tmp_path: Path, equality: MathVerify) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(logged()) + "\n" + json.dumps({"answer": "1", "confidence": 1}))
    with pytest.raises(ValueError, match="line 2"):
        [each async for each in read_refinements(path, equality=equality)]


async def test_the_docs_line_of_a_log_is_one_that_is_read(
    tmp_path: Path, equality: MathVerify
) -> None:
    page = (Path(__file__).parents[2] / "docs/training-data.md").read_text("utf-8")
    line = page.partition("```json\n")[2].partition("```")[0]
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(json.loads(line)), "utf-8")
    (found,) = [each async for each in read_refinements(path, equality=equality)]
    assert [each.right for each in found.programs] == [True]
