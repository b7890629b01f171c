"""`cap bulk` on a cluster that loses a node, after a kill, and with rows that are none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cap_client import Retries, SharedOptions
from cap_server.bulk.columns import Columns
from cap_server.cli import cli
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.deploy.conftest import until
from tests.deploy.ray.conftest import BIN, QUIET, Cluster, Model, working
from tests.processes import alive, descendants
from tests.server.benches import tools
from tests.server.conftest import listening_with_batches

ROWS = 240
STRATEGY = ("--strategy", "single", "--deadline", 500)
"""And time enough for whatever the model is held for."""


def row(number: int) -> dict[str, Any]:
    question = f"What is 6 times 3, number {number}?"
    return {"question": question, "cot": "6 * 3 = 26. The answer is 26.", "custom_id": number}


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Two files of JSON lines."""
    folder = tmp_path / "input"
    folder.mkdir()
    for name, numbers in (("a.jsonl", range(ROWS // 2)), ("b.jsonl", range(ROWS // 2, ROWS))):
        written = "\n".join(json.dumps(row(number)) for number in numbers)
        (folder / name).write_text(written + "\n\n")
    return folder


def begun(*arguments: object, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [BIN / "cap", "bulk", *map(str, arguments)],
            stdout=output,
            stderr=output,
            env=os.environ | QUIET | {"COLUMNS": "200"},
        )


def run(*arguments: object, log: Path) -> int:
    return begun(*arguments, log=log).wait(500)


def written(output: Path) -> list[Mapping[str, Any]]:
    """The output's rows, in the order of the input."""
    from pyarrow import parquet

    parts = sorted((output / "rows").glob("*.parquet"))
    read = [each for part in parts for each in parquet.read_table(part).to_pylist()]
    return sorted(read, key=lambda each: (each["file"], each["row"]))


def assert_each_is_there_once(output: Path, *, rows: int = ROWS) -> None:
    read = written(output)
    assert Counter(each["custom_id"] for each in read) == Counter(map(str, range(rows)))
    assert {(each["status"], each["decision"], each["answer"]) for each in read} == {
        (200, "corrected", "18")
    }


def test_a_node_that_is_lost_costs_no_row_and_none_is_there_twice(
    cluster: Cluster, server: str, model: Model, lines: Path, tmp_path: Path
) -> None:
    output, log = tmp_path / "output", tmp_path / "bulk.log"
    model.hold_after(80)
    options = ("--input", lines, "--output", output, "--url", server, *STRATEGY)
    spread = ("--ray", cluster.address, "--at-once", 4, "--rows-per-part", 10)
    job = begun(*options, *spread, log=log)
    second = cluster.worker_nodes.copy().pop()
    until(
        lambda: model.asked.total() > 80 and working(second, "MapBatches"),
        within_s=180,
        else_say=log.read_text,
    )
    cluster.remove_node(second, allow_graceful=False)
    model.go_on()
    assert job.wait(400) == 0, log.read_text()
    assert_each_is_there_once(output)
    assert model.asked == Counter({str(number).encode(): 1 for number in range(ROWS)})


def test_a_job_that_was_killed_goes_on_and_pays_nothing_twice(
    server: str, model: Model, lines: Path, tmp_path: Path
) -> None:
    output, log = tmp_path / "output", tmp_path / "bulk.log"
    parts = ("--at-once", 2, "--rows-per-part", 40)
    options = ("--input", lines, "--output", output, "--url", server, *STRATEGY, *parts)
    model.hold_after(100)
    job = begun(*options, log=log)
    until(lambda: model.asked.total() > 100, within_s=180, else_say=log.read_text)
    started = descendants(job.pid)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not alive(started, within_s=240), "Ray stays behind"
    model.go_on()
    assert run(*options, log=log) == 0, log.read_text()
    assert_each_is_there_once(output)
    assert model.asked == Counter({str(number).encode(): 1 for number in range(ROWS)})
    # Nothing is left: the server is not even asked.
    assert run(*options, "--url", "http://127.0.0.1:9", log=log) == 0, log.read_text()
    assert "240 were there already" in log.read_text().splitlines()[-1]


def test_rows_that_fail_have_dead_letters_and_are_tried_again(
    server: str, lines: Path, tmp_path: Path
) -> None:
    output, log, file = tmp_path / "output", tmp_path / "bulk.log", lines / "a.jsonl"
    wrong = [
        '{"question": "6 * 3?"',
        '{"cot": "no question"}',
        json.dumps({"question": "x" * 40_000}),
    ]
    file.write_text("\n".join([json.dumps(row(0)), *wrong, json.dumps(row(1))]))
    options = ("--input", file, "--output", output, "--url", server, *STRATEGY)
    assert run(*options, log=log) == 1
    read = written(output)
    assert [(each["row"], each["status"]) for each in read] == [
        (1, 200), (2, 422), (3, 422), (4, 422), (5, 200),
    ]  # fmt: skip
    (letters,) = (output / "dead-letters").glob("*")
    dead = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [(each["row"], each["error"]["code"]) for each in dead] == [
        (2, "malformed_row"), (3, "malformed_row"), (4, "invalid_value"),
    ]  # fmt: skip
    assert [each["written"] for each in dead[:2]] == [wrong[0], json.loads(wrong[1])]
    assert {each["file"] for each in (*dead, *read)} == {str(file)}
    assert run(*options, log=log) == 1
    assert "3 failed, 2 were there already" in log.read_text()
    assert [(each["row"], each["status"]) for each in written(output)] == [
        (each["row"], each["status"]) for each in read
    ]


def test_tables_are_read_with_their_own_columns(server: str, model: Model, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    output, log, file = tmp_path / "output", tmp_path / "bulk.log", tmp_path / "in.parquet"
    columns = {
        "problem": [row(number)["question"] for number in range(25)],
        "response": [row(number)["cot"] for number in range(25)],
        "uid": list(range(25)),
        "answer": pa.array([26.5] * 25),
        "other": [None] * 25,
    }
    parquet.write_table(pa.table(columns), file, row_group_size=9)
    named = (
        "--column",
        "question=problem",
        "--column",
        "cot=response",
        "--column",
        "custom_id=uid",
    )
    how = (*STRATEGY, *named, "--rows-per-part", 4)
    options = ("--input", file, "--output", output, "--url", server, *how)
    assert run(*options, log=log) == 2
    assert "`other` is none of question" in log.read_text()
    assert not output.exists()
    assert run(*options, "--ignore-others", log=log) == 0, log.read_text()
    assert_each_is_there_once(output, rows=25)
    assert [each["row"] for each in written(output)] == list(range(1, 26))
    assert {each["original_answer"] for each in written(output)} == {"26.5"}
    assert model.asked.total() == 25


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--column", "cot=respnse"), 2, "has no column `respnse` for cot; it has cot, custom_id"),
        (("--column", "tale=cot"), 2, "FIELD is one of question"),
        (("--input", "nowhere.parquet"), 2, "nowhere.parquet: there is no such file or folder"),
        (("--input", "pyproject.toml"), 2, "expected .parquet, .jsonl or .ndjson"),
        (("--input", "{tmp}/text.parquet"), 2, "text.parquet cannot be read as Parquet"),
        (("--input", "{tmp}/rows.jsonl.gz"), 2, "is compressed"),
        (("--input", "{tmp}/empty.jsonl"), 2, "holds no rows"),
        (("--input", "what://ever"), 2, "what://ever"),
        (("--output", "{tmp}"), 2, "holds something else"),
        (("--output", "{tmp}/input/new"), 2, "lies within the input"),
        (("--output", "{tmp}/other"), 2, "other holds another job's rows: strategy was"),
        (("--url", "http://127.0.0.1:9"), 5, "cannot be reached"),
        (("--ray", "127.0.0.1:9"), 2, "No Ray cluster answers at 127.0.0.1:9: Connection"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    arguments: Sequence[str], code: int, told: str, lines: Path, tmp_path: Path
) -> None:
    from cap_server.bulk.plan import plan

    (tmp_path / "text.parquet").write_text("text")
    (tmp_path / "rows.jsonl.gz").write_text("text")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    plan(
        [str(lines)],
        str(tmp_path / "other"),
        columns=Columns.of([], ignore_others=False),
        shared={"strategy": {"name": "pot"}},
        rows_per_part=500,
    )
    given = {"--input": str(lines), "--output": str(tmp_path / "new")} | {"--strategy": "single"}
    with listening_with_batches(tools(ScriptedModel(["answer=18"]), FakeSandbox({}))) as url:
        pairs = dict(zip(arguments[::2], arguments[1::2], strict=True))
        merged = given | {"--url": url}
        merged |= {name: value.format(tmp=tmp_path) for name, value in pairs.items()}
        options = [each for pair in merged.items() for each in pair]
        result = CliRunner().invoke(cli, ["bulk", *options])
    assert result.exit_code == code, result.output
    assert told in result.stderr


def test_stores_that_only_fsspec_knows_hold_input_and_output() -> None:
    import fsspec

    from cap_server.bulk.plan import plan
    from cap_server.bulk.worker import Work, work_on

    store = fsspec.filesystem("memory")
    store.pipe("/in/a.jsonl", "\n".join(json.dumps(row(number)) for number in range(9)).encode())
    columns, shared = Columns.of([], ignore_others=False), SharedOptions(strategy="single")
    model = ScriptedModel(["answer=18"])
    with listening_with_batches(tools(model, FakeSandbox({"answer=18": 18}))) as url:
        for parts in (2, 3):
            planned = plan(
                ["memory://in"], "memory://out", columns=columns, shared=shared, rows_per_part=2
            )
            work = Work(planned.job, "memory://out", columns, shared, url, None, Retries())
            assert len(list(work_on(planned.left[:parts], work))) == parts
    assert planned.skipped == 4
    assert len(model.prompts) == 9
    files = sorted(name.rpartition("/")[2] for name in store.find("/out/rows"))
    assert files == [f"part-{number:06}.parquet" for number in range(5)]


def test_what_the_server_refuses_for_all_rows_ends_the_job(
    server: str, lines: Path, tmp_path: Path
) -> None:
    log = tmp_path / "bulk.log"
    options = ("--input", lines, "--output", tmp_path / "output", "--url", server)
    assert run(*options, "--strategy", "wisdom", log=log) == 1
    assert "wisdom" in log.read_text()
    assert "The same command goes on from here." in log.read_text()
    assert "Traceback" not in log.read_text()
