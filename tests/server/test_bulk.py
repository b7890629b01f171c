"""`cap refine --input`: files of problems through a server that really listens."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cap_server.bulk.rows import batches, rows_of
from cap_server.cli import cli
from cap_server.domain import Prompt, Sample, Sampling
from cap_server.errors import CapError, ModelResponseError
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import listening_with_batches

ROWS: list[dict[str, Any]] = [
    {"question": "6 * 3?", "custom_id": "first", "cot": "The answer is 26.", "source": "s"},
    {"question": "6 * 3, again?", "answer": 18},
    {"question": "6 * 3, once more?", "choices": ["17", 18]},
]


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    return file


def refined(
    *arguments: object,
    script: Sequence[str | CapError] = ("answer=18",),
    settings: Settings | None = None,
    stdin: str | None = None,
) -> tuple[Result, ScriptedModel]:
    """`cap refine --strategy single ARGUMENTS` against a server that comes to 18."""
    model = ScriptedModel(script)
    with listening_with_batches(tools(model, FakeSandbox({"answer=18": 18})), settings) as url:
        command = ["refine", "--url", url, "--strategy", "single", *map(str, arguments)]
        result = CliRunner().invoke(cli, command, input=stdin)
    return result, model


def lines(text: str) -> list[dict[str, Any]]:
    return sorted(map(json.loads, text.splitlines()), key=lambda line: int(line["line"]))


def test_every_row_is_answered_with_its_name_and_its_line(problems: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    result, _ = refined("--input", problems, "--output", output, "--candidates")
    assert result.exit_code == 0, result.output
    first, second, third = lines(output.read_text())
    assert (first["line"], first["custom_id"], second["custom_id"]) == (1, "first", None)
    assert [each["refinement"]["decision"] for each in (first, second, third)] == [
        "corrected", "confirmed", "answered",
    ]  # fmt: skip
    assert third["refinement"]["answer"] == "B"
    assert first["refinement"]["candidates"][0]["text"] == "answer=18"
    assert (first["status"], first["error"]) == (200, None)
    for shown in ("3 rows", "1 corrected", "1 confirmed", "1 answered", "3 programs"):
        assert shown in result.stderr
    assert result.stdout == ""


def test_it_stands_in_a_pipe(problems: Path) -> None:
    result, _ = refined("--input", "-", stdin=problems.read_text())
    assert result.exit_code == 0
    assert [each["line"] for each in lines(result.stdout)] == [1, 2, 3]
    assert "3 rows" in result.stderr


def test_a_second_run_asks_only_for_what_is_missing(problems: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    refined("--input", problems, "--output", output)
    whole = output.read_bytes()
    output.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 40])  # killed while it wrote the last
    result, model = refined("--input", problems, "--output", output)
    assert (result.exit_code, len(model.prompts)) == (0, 1)
    assert "2 were there already" in result.stderr
    assert [each["line"] for each in lines(output.read_text())] == [1, 2, 3]
    again, model = refined("--input", problems, "--output", output)
    assert (again.exit_code, len(model.prompts)) == (0, 0)


def test_rows_refined_in_another_way_are_other_rows(problems: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    refined("--input", problems, "--output", output)
    _, model = refined("--input", problems, "--output", output, "--seed", 7)
    assert len(model.prompts) == 3
    assert len(lines(output.read_text())) == 6


def test_a_row_that_stands_twice_is_answered_twice(tmp_path: Path) -> None:
    file, output = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    file.write_text('{"question": "6 * 3?"}\n' * 2)
    refined("--input", file, "--output", output)
    file.write_text('{"question": "6 * 3?"}\n' * 3)
    result, _ = refined("--input", file, "--output", output)
    assert "2 were there already" in result.stderr
    assert len(lines(output.read_text())) == 3


def test_rows_that_failed_are_told_and_tried_again(problems: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    result, _ = refined("--input", problems, "--output", output, script=[ModelResponseError("no")])
    assert (result.exit_code, "3 failed" in result.stderr) == (1, True)
    assert {each["error"]["code"] for each in lines(output.read_text())} == {"model_response"}
    result, _ = refined("--input", problems, "--output", output)
    assert result.exit_code == 0
    assert [each["error"] for each in lines(output.read_text())] == [None] * 3


def test_one_row_that_is_refused_does_not_hold_up_the_others(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    long = {"question": "x" * 40_000, "custom_id": "long"}
    file.write_text("\n".join(map(json.dumps, [ROWS[0], long, ROWS[1]])))
    result, _ = refined("--input", file)
    first, refused, second = lines(result.stdout)
    assert result.exit_code == 1
    assert (first["status"], refused["status"], second["status"]) == (200, 422, 200)
    assert refused["custom_id"] == "long"
    assert "question" in refused["error"]["param"]


def test_batches_are_halved_until_the_server_takes_them(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    rows = [{"question": f"{i} {'x' * size}?"} for i, size in enumerate([300, 300, 300, 3000])]
    file.write_text("\n".join(map(json.dumps, rows)))
    result, _ = refined("--input", file, settings=Settings(batch_max_body_bytes=1024))
    assert [each["status"] for each in lines(result.stdout)] == [200, 200, 200, 413]


def test_what_is_wrong_with_all_rows_ends_the_run(problems: Path) -> None:
    result, _ = refined("--input", problems, "--deadline", -1)
    assert (result.exit_code, "deadline_s" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"qestion": "?"}\n', ":1: question"),
        ('{"question": "?"}\n{"question": "?", "cots": "x"}\n', ":2: cots"),
        ("nonsense\n", ":1: the line"),
        ("\n", "holds no rows"),
    ],
)
def test_a_file_that_holds_no_rows_is_told(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(text)
    result = CliRunner().invoke(cli, ["refine", "--input", str(file)])
    assert (result.exit_code, message in result.output) == (2, True)


def test_wrong_usage_is_told_and_no_file_is_harmed(problems: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(cli, ["refine"]).exit_code == 2
    assert run(cli, ["refine", "?", "--output", "x"]).exit_code == 2
    assert run(cli, ["refine", "--input", str(problems), "--cot", "-"]).exit_code == 2
    assert run(cli, ["refine", "--input", str(tmp_path / "none")]).exit_code == 2
    before = problems.read_bytes()
    mistaken = run(cli, ["refine", "--input", str(problems), "--output", str(problems)])
    assert (mistaken.exit_code, problems.read_bytes()) == (2, before)
    nowhere = run(cli, ["refine", "--input", str(problems), "--output", str(tmp_path / "no" / "a")])
    assert nowhere.exit_code == 2


def test_a_server_that_is_absent_or_not_ready_is_told_at_once(problems: Path) -> None:
    absent = CliRunner().invoke(
        cli, ["refine", "--input", str(problems), "--url", "http://127.0.0.1:9"]
    )
    assert (absent.exit_code, "goes on from here" in absent.stderr) == (5, True)
    broken = FakeSandbox({}, failure=CapError("broken"))
    with listening_with_batches(tools(ScriptedModel([""]), broken)) as url:
        result = CliRunner().invoke(cli, ["refine", "--input", str(problems), "--url", url])
    assert (result.exit_code, "not ready: sandbox" in result.stderr) == (1, True)


class OnlyTheFirst(ScriptedModel):
    """Writes one program; whoever asks for more waits for `others`."""

    others = threading.Event()

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        if self.prompts:
            await asyncio.to_thread(self.others.wait)
        return await super().sample(prompt, sampling=sampling, draw=draw)


def test_ctrl_c_keeps_what_is_there(tmp_path: Path) -> None:
    file, output = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"question": f"{i}?"}) + "\n" for i in range(20)))
    model = OnlyTheFirst(["answer=18"])
    with listening_with_batches(tools(model, FakeSandbox({"answer=18": 18}))) as url:
        command = [sys.executable, "-c", "from cap_server.cli import main; main()", "refine"]
        running = subprocess.Popen(
            [*command, "--input", str(file), "--output", str(output), "--url", url,
             "--strategy", "single"],
            stderr=subprocess.PIPE,
            env=os.environ | {"COLUMNS": "200"},
        )  # fmt: skip
        try:
            while not (output.exists() and output.stat().st_size) and running.poll() is None:
                time.sleep(0.02)
            running.send_signal(signal.SIGINT)
            _, told = running.communicate(timeout=60)
        finally:
            running.kill()
            model.others.set()
    assert running.returncode == 130, told
    assert b"goes on from here" in told
    assert b"20 rows: 1 answered" in told
    assert len(lines(output.read_text())) == 1


def test_batches_stay_below_what_a_server_takes() -> None:
    many = b"\n".join(b'{"question": "%d"}' % i for i in range(2500))
    rows = rows_of(many, name="many", shared={})
    assert [len(each) for each in batches(rows)] == [1000, 1000, 500]
    large = json.dumps({"question": "x" * 1_500_000}).encode()
    rows = rows_of(b"\n".join([large] * 5), name="large", shared={})
    assert [len(each) for each in batches(rows)] == [2, 2, 1]
