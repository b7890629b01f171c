"""`cap-train data`, to the Parquet files and their card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cap_training.data.cli import data_cli
from cap_training.data.files import sha256

parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `train` is not installed")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(data_cli, [str(argument) for argument in arguments])


def test_a_set_is_made_the_same_again_and_its_card_says_what_is_in_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made = run("make", "--output", tmp_path / name, "--rows", 300, "--held-out", 50)
        assert made.exit_code == 0, made.output
    card = json.loads((tmp_path / "a/card.json").read_text("utf-8"))
    assert card == json.loads((tmp_path / "b/card.json").read_text("utf-8"))
    assert card["rows"] == 400
    assert card["counts"]["split"] == {"train": 300, "dev": 50, "test": 50}
    assert card["files"]["train.parquet"] == sha256(tmp_path / "a/train.parquet")
    assert card["files"]["train.parquet"] in (tmp_path / "a/README.md").read_text("utf-8")


def test_rows_are_in_trls_conversational_form(tmp_path: Path) -> None:
    run("make", "--output", tmp_path, "--rows", 100, "--held-out", 10)
    rows = parquet.read_table(tmp_path / "train.parquet").to_pylist()
    assert len(rows) == 100
    for row in rows:
        assert [message["role"] for message in row["prompt"]] == ["user"]
        assert [message["role"] for message in row["completion"]] == ["assistant"]
        assert row["cot_right"] in (None, True, False)


def test_problems_with_a_sum_get_right_and_wrong_cots_to_measure_on(tmp_path: Path) -> None:
    visitors = Path(__file__).parents[2] / "training/visitor_questions.jsonl"
    for name in ("a", "b"):
        made = run("cots", "--problems", visitors, "--output", tmp_path / name, "--seed", 3)
        assert made.exit_code == 0, made.output
    assert (tmp_path / "a").read_text("utf-8") == (tmp_path / "b").read_text("utf-8")
    rows = [json.loads(line) for line in (tmp_path / "a").read_text("utf-8").splitlines()]
    assert len(rows) == 100
    for row in rows:
        assert row["right_cot"] != row["wrong_cot"]


def test_a_problem_whose_sum_does_not_come_to_its_answer_gets_none(tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    lines = [
        {"question": "2 pens and 3 pens?", "equation": "2+3", "answer": 5.0},
        {"question": "2 pens and 4 pens?", "equation": "2+4", "answer": "7"},
        {"question": "2 pens and 5 pens?", "equation": "two", "answer": "7"},
    ]
    problems.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    assert run("cots", "--problems", problems, "--output", tmp_path / "out").exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "out").read_text("utf-8").splitlines()]
    assert [row["answer"] for row in rows] == ["5"]
    problems.write_text('{"question": "2 and 3?", "answer": "5"}', "utf-8")
    refused = run("cots", "--problems", problems, "--output", tmp_path / "out")
    assert refused.exit_code == 1
    assert "row 1" in refused.output


def test_a_log_of_refinements_becomes_rows_of_both_stages(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [
        {
            "question": f"What is {n} times 6?",
            "cot": None,
            "answer": str(6 * n),
            "confidence": 1.0,
            "candidates": [
                {"kind": "program", "text": f"answer={n}*6", "answer": str(6 * n)},
                {"kind": "program", "text": f"answer={n}+6", "answer": str(n + 6)},
            ],
        }
        for n in range(2, 40)
    ]
    log.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    made = run("refinements", "--log", log, "--output", tmp_path / "out")
    assert made.exit_code == 0, made.output
    pairs = parquet.read_table(tmp_path / "out/train_pairs.parquet").to_pylist()
    assert all("*6" in pair["chosen"][0]["content"] for pair in pairs)
    assert parquet.read_table(tmp_path / "out/train.parquet").num_rows > len(pairs) > 20


@pytest.mark.parametrize("text", ['{"question": "Q"}', "not JSON", "[1]"])
def test_a_file_that_cannot_be_used_ends_the_command_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text(text, "utf-8")
    refused = run("label", "--problems", file, "--journal", tmp_path / "j", "--output", tmp_path)
    assert refused.exit_code == 1
    assert "Traceback" not in refused.output


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file"),
        (
            b'{"question": "2 and 3?", "answer": "5", "sum": "2+3"}\n{"question": ',
            "line 2: not JSON",
        ),
        (b'["2 and 3?"]', "line 1: not a JSON object"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    problems = tmp_path / "problems.jsonl"
    if content is not None:
        problems.write_bytes(content)
    refused = run("cots", "--problems", problems, "--output", tmp_path / "out")
    assert refused.exit_code == 1
    assert "problems.jsonl" in refused.output
    assert says in refused.output
    assert "Errno" not in refused.output
