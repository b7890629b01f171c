"""`cap eval` against a server that really listens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cap_server.cli import cli
from cap_server.errors import CapError, ModelResponseError
from cap_server.evaluation.report import wilson
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import listening_on

ROWS = [
    {"question": "6 * 3?", "answer": 18, "cot": "The answer is 26.", "source": "s"},
    {"question": "6 * 3, again?", "answer": "18", "cot": "The answer is 18."},
    {"question": "6 * 3, once more?", "answer": "B", "choices": ["17", "18"]},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    return file


def evaluated(
    data: Path, *arguments: str, script: Sequence[str | CapError] = ("answer=18",)
) -> tuple[Result, ScriptedModel]:
    model = ScriptedModel(script)
    with listening_on(tools(model, FakeSandbox({"answer=18": 18}))) as url:
        result = CliRunner().invoke(cli, ["eval", str(data), "--url", url, *arguments])
    return result, model


def test_every_strategy_is_measured_on_every_row(data: Path) -> None:
    result, _ = evaluated(data, "--strategy", "single", "--strategy", "pot:programs=3", "--json")
    assert result.exit_code == 0, result.output
    single, pot = json.loads(result.stdout)
    assert (single["strategy"], single["rows"], single["accuracy"]) == ("single", 3, 1.0)
    assert (single["prior_accuracy"], single["corrected"], single["broken"]) == (0.5, 1, 0)
    assert (single["programs"], pot["programs"]) == (1.0, 3.0)
    assert single["low"] < 1 == single["high"]


def test_a_run_goes_on_where_it_was_and_asks_for_nothing_twice(data: Path, tmp_path: Path) -> None:
    journal = str(tmp_path / "kept.jsonl")
    first, model = evaluated(data, "--strategy", "single", "--journal", journal, "--json")
    assert len(model.prompts) == 3
    with Path(journal).open("a") as file:
        file.write('{"key": "cut o')  # killed while it wrote
    again, model = evaluated(data, "--strategy", "single", "--journal", journal, "--json")
    assert (again.stdout, len(model.prompts)) == (first.stdout, 0)
    more, model = evaluated(data, "--strategy", "pot:programs=1", "--journal", journal, "--json")
    assert len(model.prompts) == 3
    assert json.loads(more.stdout)[0]["rows"] == 3


def test_rows_that_the_server_fails_on_are_counted_apart_and_tried_again(data: Path) -> None:
    result, _ = evaluated(data, "--strategy", "single", "--json", script=[ModelResponseError("no")])
    assert result.exit_code == 0
    assert json.loads(result.stdout)[0]["failed"] == 3
    again, _ = evaluated(data, "--strategy", "single", "--json")
    assert json.loads(again.stdout)[0] | {"failed": 0} == json.loads(again.stdout)[0]


def test_a_person_sees_a_table_and_gets_a_picture(data: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    result, _ = evaluated(data, "--strategy", "single", "--plot", str(picture))
    assert result.exit_code == 0, result.output
    for shown in ("strategy", "single", "refined", "1.000", "3 rows"):
        assert shown in result.output
    assert "<svg" in picture.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "?"}\n', "rows.jsonl:1: answer"),
        ('{"question": "?", "answer": 1}\nnonsense\n', "rows.jsonl:2: the line"),
        ('{"question": "", "answer": 1}\n', "rows.jsonl:1: question"),
        ("", "holds no rows"),
    ],
)
def test_a_file_that_holds_no_rows_is_told(data: Path, text: str, message: str) -> None:
    data.write_text(text)
    result = CliRunner().invoke(cli, ["eval", str(data)])
    assert result.exit_code == 1
    assert message in result.output


def test_a_picture_that_cannot_be_drawn_is_told_before_anything_is_asked(data: Path) -> None:
    result, model = evaluated(data, "--strategy", "single", "--plot", "picture.bmp")
    assert result.exit_code == 1
    assert ".svg or .png" in result.output
    assert model.prompts == []


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["eval", str(tmp_path / "none.jsonl")])
    assert result.exit_code == 1
    assert "No such file" in result.output
    assert "Errno" not in result.output


def test_wrong_strategies_files_and_servers_are_told(data: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(cli, ["eval", str(data), "--strategy", "pot:programs"]).exit_code == 2
    refused, _ = evaluated(data, "--strategy", "wisdom")
    assert refused.exit_code == 1
    assert "must be one of" in " ".join(refused.output.split())
    gone = run(cli, ["eval", str(data), "--url", "http://127.0.0.1:9"])
    assert gone.exit_code == 1
    assert "goes on from here" in gone.output
    other = tmp_path / "other.jsonl"
    other.write_text('{"something": "else"}\n')
    mistaken = run(cli, ["eval", str(data), "--journal", str(other)])
    assert "is no journal" in mistaken.output
    assert other.read_text() == '{"something": "else"}\n'


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (0, 5), (5, 5), (3, 7), (500, 1000)])
def test_an_interval_holds_the_share_and_stays_within_0_and_1(successes: int, n: int) -> None:
    low, high = wilson(successes, n)
    assert 0 <= low <= (successes / n if n else 0.5) <= high <= 1
