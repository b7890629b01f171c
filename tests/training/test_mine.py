"""Pairs for stage 2: what a scripted model writes, judged in the real sandbox."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from cap_training.cli import cli
from cap_training.data.rows import Row as TrainingRow
from cap_training.data.rows import ask, reply
from cap_training.failures import RowsError, RunError
from cap_training.mine import Draw, MineOptions, balanced, mine, pairs_of
from cap_training.serving import Server
from tests.training.conftest import Row, thorough
from tests.training.talker import CUT_OFF, Asked, Reply, talking

Write = Callable[[str, list[Row]], Path]

RIGHT = "answer=4+3\n# prior: wrong"
FALSE_WORD = "answer=3+4\n# prior: right"
COPIED = "answer=4-3\n# prior: right"
WRONG = "answer=4*3\n# prior: wrong"
CRASHES = "answer=4/0\n# prior: wrong"
TOO_LONG = f"answer=4+3+0+0{CUT_OFF}"


def row(number: int = 4, *, cot_right: bool | None = False) -> Row:
    question = f"Ann has {number} pens and gets 3. How many has she?"
    cots = {
        None: None,
        True: f"{number}+3={number + 3}. The answer is {number + 3}.",
        False: f"{number}-3={number - 3}. The answer is {number - 3}.",
    }
    cot = cots[cot_right]
    made = TrainingRow(
        user=ask(question, cot),
        completion=reply(f"answer={number}+3", cot_right),
        question=question,
        answer=str(number + 3),
        cot=cot,
        cot_right=cot_right,
        id=str(number),
    )
    return made.columns()


def written(*texts: str) -> Reply:
    """A model whose draws for a message are `texts` by turns."""
    return lambda asked: texts[asked.nth % len(texts)]


async def mined(
    options: MineOptions, reply: Reply, *, url: str = ""
) -> tuple[dict[str, int], list[Row]]:
    with talking(reply) as talker:
        settings = Server(url or talker.url, "cap").settings()
        counts = await mine(options, settings, say=lambda _line: None)
    return dict(counts), parquet.read_table(options.output).to_pylist()


async def test_chosen_is_right_with_a_true_word_and_rejected_is_what_the_sandbox_found_wrong(
    write: Write, tmp_path: Path
) -> None:
    options = MineOptions(
        data=(write("mine", [row()]),), output=tmp_path / "pairs.parquet", samples=6, most_pairs=9
    )
    draws = (RIGHT, FALSE_WORD, COPIED, WRONG, CRASHES, TOO_LONG)
    counts, pairs = await mined(options, written(*draws))
    outcomes = {name: counts[name] for name in ("right", "copied", "wrong", "no_answer", "cut_off")}
    assert outcomes == {"right": 2, "copied": 1, "wrong": 1, "no_answer": 1, "cut_off": 1}
    assert {pair["chosen"][0]["content"] for pair in pairs} == {RIGHT}
    assert {pair["rejected"][0]["content"] for pair in pairs} == {COPIED, WRONG, CRASHES}
    assert {pair["prompt"][0]["content"] for pair in pairs} == {row()["prompt"][0]["content"]}
    assert counts["pairs"] == counts["pairs_wrong"] == len(pairs) == 3


async def test_only_rows_with_the_wanted_cots_are_asked(write: Write, tmp_path: Path) -> None:
    rows = [row(4, cot_right=None), row(5, cot_right=True), row(6, cot_right=False)]
    options = MineOptions(
        data=(write("mine-some", rows),),
        output=tmp_path / "pairs.parquet",
        conditions=("right", "wrong"),
        samples=2,
        gold=True,
    )
    counts, pairs = await mined(options, written(WRONG, CRASHES))
    assert counts["rows"] == 2
    assert {pair["condition"] for pair in pairs} == {"right", "wrong"}


async def test_draws_of_another_model_or_temperature_are_not_taken_for_ones_of_this(
    write: Write, tmp_path: Path
) -> None:
    options = MineOptions(
        data=(write("mine-claimed", [row()]),),
        output=tmp_path / "pairs.parquet",
        model="first",
        samples=2,
    )
    await mined(options, written(RIGHT, WRONG))
    again, pairs = await mined(replace(options, most_pairs=1), written(CRASHES))
    assert again["pairs"] == 1
    assert pairs[0]["rejected"][0]["content"] == WRONG
    with pytest.raises(RunError, match="model was first"):
        await mined(replace(options, model="second"), written(RIGHT, WRONG))
    with pytest.raises(RunError, match=r"temperature was 1\.0"):
        await mined(replace(options, temperature=0.5), written(RIGHT, WRONG))


def test_an_unknown_kind_of_row_is_refused(tmp_path: Path) -> None:
    options = ["--data", "-", "--output", str(tmp_path / "a"), "--url", "http://127.0.0.1:1/v1"]
    done = CliRunner().invoke(cli, ["mine", *options, "--condition", "left"])
    assert done.exit_code == 2
    assert "none, right, wrong" in done.output


@thorough
async def test_without_a_right_draw_the_rows_own_completion_stands_in_if_asked(
    write: Write, tmp_path: Path
) -> None:
    data = (write("mine-gold", [row()]),)
    options = MineOptions(data=data, output=tmp_path / "a.parquet", samples=2)
    with pytest.raises(RowsError, match="No pairs"):
        await mined(options, written(COPIED, WRONG))
    assert not options.output.exists()
    with_gold = MineOptions(data=data, output=tmp_path / "b.parquet", samples=2, gold=True)
    _, pairs = await mined(with_gold, written(COPIED, WRONG))
    assert {pair["chosen"][0]["content"] for pair in pairs} == {RIGHT}


def test_copies_of_the_wrong_answer_are_rejected_before_other_mistakes() -> None:
    draws = [
        *(Draw(f"answer={n}", "wrong", False) for n in range(20)),
        Draw("answer=1", "copied", False),
        Draw("answer=0+1", "copied", False),
        Draw("answer=7", "right", True),
        Draw("answer=8-1", "right", True),
    ]
    for seed in range(10):
        options = MineOptions(data=(), output=Path("-"), most_pairs=3, seed=seed)
        pairs = list(pairs_of([(row(), draws)], options))
        rejected = [pair["rejected"][0]["content"] for pair in pairs]
        assert set(rejected[:2]) == {"answer=1", "answer=0+1"}
        assert len(set(rejected)) == 3


def test_no_kind_of_row_has_most_of_the_pairs() -> None:
    pairs = [{"condition": "wrong", "n": n} for n in range(90)]
    pairs += [{"condition": "right", "n": n} for n in range(10)]
    kept = Counter(pair["condition"] for pair in balanced(pairs, share=0.6, seed=0))
    assert kept == {"wrong": 15, "right": 10}
    alone = [{"condition": "none", "n": n} for n in range(7)]
    assert len(list(balanced(alone, share=0.6, seed=0))) == 7


@thorough
async def test_a_killed_run_asks_only_for_what_its_journal_lacks(
    write: Write, tmp_path: Path
) -> None:
    data = write("mine-killed", [row(n) for n in range(4, 16)])
    output = tmp_path / "pairs.parquet"
    journal = output.with_suffix(".draws.jsonl")
    stuck, let_go = threading.Event(), threading.Event()

    def slow(asked: Asked) -> str:
        if len(talker.asked) > 10:  # five rows are done
            stuck.set()
            let_go.wait(60)
        return COPIED

    with talking(slow) as talker:
        command = [
            sys.executable, "-c", "from cap_training.cli import main; main()", "mine",
            "--data", str(data), "--output", str(output), "--url", talker.url,
            "--samples", "2", "--at-once", "1",
        ]  # fmt: skip
        with subprocess.Popen(command) as killed:  # noqa: ASYNC220  nothing else runs meanwhile
            assert stuck.wait(100)
            killed.send_signal(signal.SIGKILL)
            assert killed.wait() == -signal.SIGKILL
        let_go.set()
    done = {json.loads(line)["key"].partition("-")[0] for line in journal.read_text().splitlines()}
    assert len(done) == 5
    with journal.open("a") as torn:
        torn.write('{"key": "4-0')

    with talking(written(RIGHT, WRONG)) as talker:
        options = MineOptions(data=(data,), output=output, samples=2, gold=True)
        settings = Server(talker.url, "cap").settings()
        counts = await mine(options, settings, say=lambda _line: None)
    asked = Counter(each.message for each in talker.asked)
    left = [n for n in range(4, 16) if str(n) not in done]
    assert asked == {row(n)["prompt"][0]["content"]: 2 for n in left}
    assert counts["rows"] == 12
