"""What `cap bulk` keeps account of; on Ray itself it runs in tests/deploy/ray."""

from __future__ import annotations

import io
import json
import re
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cap_client import BatchItem, Client, SharedOptions
from cap_server.bulk.columns import Columns
from cap_server.bulk.entries import Entry, entries_of_lines, entry_of, scan_lines
from cap_server.bulk.job import Job, Part, Source, parts_of
from cap_server.bulk.part import dead_letter, out_row, refine_part, tally_of
from cap_server.bulk.rows import BulkError, Row
from cap_server.cli import cli
from cap_server.errors import ModelResponseError
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import listening_with_batches

PLAIN = Columns.of([], ignore_others=False)
SHARED: SharedOptions = {"strategy": "single"}
LINES = b"".join(b'{"question": "number %d"}\n%s' % (i, b"\n" * (i == 2)) for i in range(7))


def part(number: int = 0, *, first: int = 1, start: int = 0, size: int = 0) -> Part:
    return Part(number, "in", "in/a.jsonl", "in/a.jsonl", first, 3, start, size)


def test_a_file_of_lines_is_cut_into_parts_that_hold_each_row_once() -> None:
    scanned = scan_lines(io.BytesIO(LINES), rows_per_part=3, name="a")
    assert (scanned.rows, set(scanned.columns)) == (7, {"question"})
    entries = [
        entry
        for first, rows, start, size in scanned.parts
        for entry in entries_of_lines(
            LINES[start : start + size], part(first=first), columns=PLAIN, shared=SHARED
        )
    ]
    assert [entry.number for entry in entries] == [1, 2, 3, 5, 6, 7, 8]
    assert [entry.row.problem["question"] for entry in entries if entry.row] == [
        f"number {i}" for i in range(7)
    ]
    other = scan_lines(io.BytesIO(LINES.replace(b"5", b"9")), rows_per_part=3, name="a")
    assert other.fingerprint != scanned.fingerprint


def test_parts_are_numbered_over_all_files() -> None:
    cut = ((1, 3, 0, 0), (4, 2, 0, 0))
    sources = [Source("in", name, name, "f", 5, cut) for name in ("a", "b")]
    parts = list(parts_of(sources))
    assert [(each.number, each.name, each.first) for each in parts] == [
        (0, "a", 1), (1, "a", 4), (2, "b", 1), (3, "b", 4),
    ]  # fmt: skip
    assert (parts[2].file, parts[2].dead) == (
        "rows/part-000002.parquet",
        "dead-letters/part-000002.jsonl",
    )


@pytest.mark.parametrize(
    ("files", "how", "told"),
    [
        ({"a": "1", "b": "2"}, {"seed": 7}, None),
        ({"a": "1"}, {"seed": 7}, "their input has b too"),
        ({"a": "1", "b": "2", "c": "3"}, {"seed": 7}, "their input has no c"),
        ({"a": "1", "b": "9"}, {"seed": 7}, "b has changed since"),
        ({"a": "1", "b": "2"}, {}, "seed was 7, not null"),
    ],
)
def test_a_job_goes_on_with_its_own_output_only(
    files: dict[str, str], how: dict[str, int], told: str | None
) -> None:
    written = Job("first", {"seed": 7}, {"a": "1", "b": "2"}).to_json()
    before = Job.from_json(written, name="out/job.json")
    job = Job("second", how, files)
    if told is None:
        assert job.going_on(before, output="out").id == "first"
    else:
        with pytest.raises(BulkError, match=told):
            job.going_on(before, output="out")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"id": 1}'])
def test_a_damaged_mark_is_told(content: bytes) -> None:
    with pytest.raises(BulkError, match=r"out/job.json is damaged"):
        Job.from_json(content, name="out/job.json")


def test_a_batch_has_the_same_name_in_every_run_and_no_other_batch_has_it() -> None:
    job = Job("id", {}, {})
    rows = [Row(i, {"question": "?"}, size=9, key=f"{i}") for i in range(3)]
    keys = [
        job.batch_key(part(), rows),
        job.batch_key(part(1), rows),
        job.batch_key(part(), rows[:2]),
        Job("other", {}, {}).batch_key(part(), rows),
    ]
    assert len(set(keys)) == 4
    assert job.batch_key(part(), list(rows)) == keys[0]
    assert max(map(len, keys)) <= 255


def test_columns_are_found_by_the_names_that_are_given() -> None:
    columns = Columns.of(["question=answer", "cot=response"], ignore_others=True)
    assert columns.read(["answer", "response", "more"], name="t") == {
        "answer": "question", "response": "cot",
    }  # fmt: skip
    row = {"answer": "6 * 3?", "response": "26", "question": "not this one", "more": 1}
    assert columns.fields(row) == {"question": "6 * 3?", "cot": "26"}


@pytest.mark.parametrize(
    ("given", "present", "told"),
    [
        (["tale=cot"], [], "FIELD is one of question, "),
        (["cot"], [], "--column cot: expected FIELD=COLUMN"),
        (["cot="], [], "expected FIELD=COLUMN"),
        ([], ["cot"], "t has no column `question` for question; it has cot"),
        (["cot=reply"], ["question"], "t has no column `reply` for cot; it has question"),
        ([], ["question", "reply"], "t: `reply` is none of question, "),
    ],
)
def test_columns_that_are_not_known_are_told(
    given: list[str], present: list[str], told: str
) -> None:
    with pytest.raises(BulkError) as raised:
        Columns.of(given, ignore_others=False).read(present, name="t")
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"question": "?"', "Invalid JSON"),
        (b"[1]", "object"),
        (b"\xff", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"cot": "?"}', "question: Field required"),
        (b'{"question": "?", "wat": 1}', "wat: Extra inputs"),
    ],
)
def test_a_row_that_is_none_is_an_entry_with_the_reason(line: bytes, fault: str) -> None:
    entry = entry_of(line, 4, columns=PLAIN, shared=SHARED)
    assert (entry.number, entry.row) == (4, None)
    assert fault in entry.fault


def entries(*lines: bytes) -> list[Entry]:
    return entries_of_lines(b"\n".join(lines), part(), columns=PLAIN, shared=SHARED)


def refined(
    read: list[Entry], script: list[str | ModelResponseError]
) -> tuple[list[tuple[int, int]], int, list[float]]:
    """Rows' numbers and statuses, how many programs were drawn, and the waits."""
    model, waits = ScriptedModel(script), list[float]()
    named = partial(Job("id", {}, {}).batch_key, part())
    with (
        listening_with_batches(tools(model, FakeSandbox({"answer=18": 18}))) as url,
        Client(url) as client,
    ):
        items = refine_part(read, client, SHARED, named=named, sleep=waits.append)
    rows = [out_row("a", number, item) for number, item in items.items()]
    letters = [dead_letter("a", entry, items[entry.number]) for entry in read]
    assert [json.loads(letter)["row"] for letter in letters] == [row["row"] for row in rows]
    tally = tally_of(rows)
    assert tally.rows == tally.failed + tally.decisions.total()
    return [(each.number, items[each.number].status) for each in read], len(model.prompts), waits


def test_every_entry_of_a_part_has_one_outcome() -> None:
    read = entries(b'{"question": "6 * 3?"}', b"{", b'{"question": "6 * 3?"}')
    statuses, draws, waits = refined(read, ["answer=18"])
    assert statuses == [(1, 200), (2, 422), (3, 200)]
    assert (draws, waits) == (2, [])


def test_rows_that_failed_for_the_time_being_are_asked_for_again_and_then_given_up() -> None:
    read = entries(b'{"question": "6 * 3?"}', b'{"question": " "}')
    statuses, draws, waits = refined(read, [ModelResponseError("no")])
    assert statuses == [(1, 502), (2, 422)]
    assert (draws, waits) == (3, [5.0, 30.0])


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is here")
def test_without_ray_it_says_in_one_line_how_to_get_it() -> None:
    result = CliRunner().invoke(cli, ["bulk", "--input", "in", "--output", "out"])
    assert result.exit_code == 2
    assert result.stderr.strip() == "cap bulk needs Ray: pip install 'cap-refine[ray]'"


def test_the_page_has_the_options_and_the_columns_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs/bulk.md").read_text("utf-8")
    told = CliRunner().invoke(cli, ["bulk", "--help"], env={"COLUMNS": "200"}).output
    assert [option for option in re.findall(r"--[a-z][a-z-]+", page) if option not in told] == []
    item = BatchItem(index=0, custom_id=None, status=500, refinement=None, error=None)
    table = page[page.index("| column |") : page.index("A dead letter")]
    names = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line[:90])}
    assert names == set(out_row("a", 1, item))
