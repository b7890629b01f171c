"""Evaluation: figures of known cases, and whole evaluations of a scripted model."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cap_server.adapters.math_verify import MathVerify
from cap_server.engine import About
from cap_training.evaluate import results
from cap_training.evaluate.asking import Outcome
from cap_training.evaluate.critic import p_yes
from cap_training.evaluate.evaluation import EvaluateOptions, evaluate
from cap_training.evaluate.figures import auc, calibration_error, compare, reliability, share
from cap_training.evaluate.items import read_items
from cap_training.evaluate.report import Report
from cap_training.failures import RowsError, TrainingError
from cap_training.serving import Server
from tests.training.conftest import thorough
from tests.training.talker import Asked, Reply, talking


def outcome(key: str, *, right: bool, copied: bool = False, system: str = "greedy") -> Outcome:
    return Outcome(key, system, right, copied, "corrected", "1", 2)


def test_a_share_has_the_interval_that_resampling_gives() -> None:
    found = share([True] * 30 + [False] * 70)
    assert found is not None
    assert (found.value, found.n) == (0.3, 100)
    spread = 1.96 * math.sqrt(0.3 * 0.7 / 100)  # of a binomial share, by its normal limit
    assert found.low == pytest.approx(0.3 - spread, abs=0.025)
    assert found.high == pytest.approx(0.3 + spread, abs=0.025)
    assert str(found).startswith("0.300 [")
    assert share([]) is None
    sure = share([True] * 5)
    assert sure is not None
    assert (sure.low, sure.high) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.1, 0.2, 0.8, 0.9], 1.0),
        ([0.9, 0.8, 0.2, 0.1], 0.0),
        ([0.5, 0.5, 0.5, 0.5], 0.5),
        ([0.1, 0.8, 0.2, 0.9], 0.75),
    ],
)
def test_auc_is_how_often_a_right_text_scores_above_a_wrong_one(
    scores: list[float], expected: float
) -> None:
    found = auc(scores, [False, False, True, True])
    assert found is not None
    assert found.value == expected
    assert found.low <= expected <= found.high
    assert auc(scores, [True] * 4) is None


def test_calibration_is_the_mean_distance_of_what_was_said_from_what_was_so() -> None:
    scores, right = [0.95] * 4 + [0.05] * 6, [True, True, True, False] + [False] * 6
    bins = reliability(scores, right)
    assert [(round(b.predicted, 2), b.actual, b.n) for b in bins] == [(0.05, 0, 6), (0.95, 0.75, 4)]
    assert calibration_error(bins) == pytest.approx(0.6 * 0.05 + 0.4 * 0.2)
    assert [each.n for each in reliability([1.0, 0.0], [True, False])] == [1, 1]


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (6, 0, 2 / 64), (5, 5, 1.0), (9, 1, 22 / 1024)],
)
def test_two_models_are_compared_by_what_only_one_gets_right(
    better: int, worse: int, p: float
) -> None:
    first = [True] * better + [False] * worse + [True] * 20
    second = [False] * better + [True] * worse + [True] * 20
    found = compare(first, second)
    assert (found.better, found.worse, found.n) == (better, worse, 20 + better + worse)
    assert found.p == pytest.approx(p)
    assert found.difference == pytest.approx((better - worse) / found.n)


def test_the_critics_words_are_weighed_whatever_their_tokens() -> None:
    def likely(**words: float) -> list[dict[str, Any]]:
        return [{"token": word, "logprob": math.log(p)} for word, p in words.items()]

    assert p_yes(likely(yes=0.6, no=0.2, maybe=0.2)) == pytest.approx(0.75)
    parts = [{"token": " Y", "logprob": math.log(0.3)}, {"token": "no", "logprob": math.log(0.3)}]
    assert p_yes(parts) == pytest.approx(0.5)
    assert p_yes(likely(maybe=1.0)) is None
    assert p_yes([]) is None


def test_outcomes_become_the_shares_that_the_report_shows() -> None:
    told = [
        *(outcome(f"set/none/{n}", right=n < 2) for n in range(8)),
        *(outcome(f"set/right/{n}", right=n < 3) for n in range(4)),
        *(outcome(f"set/wrong/{n}", right=n < 1, copied=n > 1) for n in range(4)),
    ]
    (line,) = results.lines(told)
    shown = (line.none, line.right, line.wrong, line.broken, line.copied)
    assert [figure.value for figure in shown if figure] == [0.25, 0.75, 0.25, 0.25, 0.5]
    assert line.programs == 2
    second = [outcome("other/none/1", right=True)]
    assert [each.dataset for each in results.lines(told + second)] == ["other", "set", "all"]


QUESTIONS = 6


def questions(folder: Path) -> Path:
    path = folder / "sums.jsonl"
    rows = [
        {
            "question": f"Ann has {n} pens and gets 3. How many has she?",
            "answer": str(n + 3),
            "right_cot": f"{n}+3={n + 3}. The answer is {n + 3}.",
            "wrong_cot": f"{n}-3={n - 3}. The answer is {n - 3}.",
        }
        for n in range(10, 10 + QUESTIONS)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def number(asked: Asked) -> int:
    return int(asked.message.partition("has ")[2].partition(" pens")[0])


def follower(asked: Asked) -> str | float:
    """Alone it is right about even numbers; it copies every CoT, and calls every text right."""
    n = number(asked)
    if asked.message.endswith("Correct?"):
        return 0.9
    if "-3=" in asked.message:
        return f"answer={n}-3\n# prior: right"
    return f"answer={n}+3" if n % 2 == 0 or "+3=" in asked.message else f"answer={n}*3"


def corrector(asked: Asked) -> str | float:
    """Always right, but for right CoTs about 10, which it breaks; a perfect critic."""
    n = number(asked)
    if asked.message.endswith("Correct?"):
        return 0.99 if "+3" in asked.message else 0.01
    return f"answer={n}*3" if "+3=" in asked.message and n == 10 else f"answer={n}+3"


def seldom(asked: Asked) -> str | float:
    """Right in a quarter of its draws, and a perfect critic."""
    if asked.message.endswith("Correct?"):
        return 0.99 if "+3" in asked.message else 0.01
    sign = "+" if asked.seed % 4 == 0 else "*"
    return f"answer={number(asked)}{sign}3"


async def evaluated(
    folder: Path, reply: Reply, *, systems: Sequence[str] = ("greedy",), **more: Any
) -> Report:
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    options = EvaluateOptions(
        data=(questions(folder),),
        output=folder / "report",
        model="m",
        systems=tuple(systems),
        **more,
    )
    with talking(reply) as talker:
        settings = Server(talker.url, "cap").settings()
        return await evaluate(options, settings, say=lambda _line: None)


def values(line: results.Line) -> list[float]:
    figures = (line.none, line.right, line.wrong, line.broken, line.copied)
    return [figure.value for figure in figures if figure]


async def test_a_model_that_follows_its_cots_is_told_from_one_that_corrects(tmp_path: Path) -> None:
    first = await evaluated(tmp_path / "follower", follower)
    assert values(first.lines[0]) == [0.5, 1.0, 0.0, 0.0, 1.0]
    assert first.critic is not None
    assert first.critic.auc is not None
    assert (first.critic.auc.value, first.critic.n) == (0.5, 2 * QUESTIONS)
    assert first.critic.calibration_error == pytest.approx(0.4)

    second = await evaluated(
        tmp_path / "corrector", corrector, against=tmp_path / "follower" / "report"
    )
    broken = 1 / QUESTIONS
    assert values(second.lines[0]) == pytest.approx([1.0, 1 - broken, 1.0, broken, 0.0])
    assert second.critic is not None
    assert second.critic.auc is not None
    assert second.critic.auc.value == 1.0
    compared = {each.condition: each.comparison for each in second.against}
    assert (compared["wrong"].better, compared["wrong"].worse) == (QUESTIONS, 0)
    assert compared["wrong"].p == pytest.approx(2 / 2**QUESTIONS)
    assert (compared["right"].better, compared["right"].worse) == (0, 1)
    assert (compared["none"].better, compared["none"].worse) == (QUESTIONS // 2, 0)

    shown = (tmp_path / "corrector" / "report" / "report.md").read_text("utf-8")
    assert "| sums | greedy | 1.000 [1.000, 1.000] |" in shown
    assert "follower" in shown
    for name in ("report.html", "report.json", "accuracy.png", "critic.png"):
        assert (tmp_path / "corrector" / "report" / name).stat().st_size > 0


@thorough
async def test_every_system_goes_through_the_server_and_a_critic_finds_the_one_right_draw(
    tmp_path: Path,
) -> None:
    systems = (
        "greedy",
        "majority of 8",
        "majority of 8, gated",
        "best of 8",
        "BoNBoN 4+4",
        "adaptive",
    )
    report = await evaluated(tmp_path, seldom, systems=systems)
    lines = {line.system: line for line in report.lines}
    assert set(lines) == set(systems)
    assert lines["greedy"].programs == 1.0
    assert lines["best of 8"].programs == 8.0
    assert lines["BoNBoN 4+4"].programs == 4.0
    best, most = lines["best of 8"].none, lines["majority of 8"].none
    assert best is not None
    assert most is not None
    assert best.value >= 5 / 6
    assert most.value <= 2 / 6
    gated = lines["majority of 8, gated"].broken
    ungated = lines["majority of 8"].broken
    assert gated is not None
    assert ungated is not None
    assert gated.value < ungated.value


@thorough
async def test_an_evaluation_goes_on_from_its_outcomes_and_from_no_others(tmp_path: Path) -> None:
    whole = await evaluated(tmp_path, corrector)
    journal = tmp_path / "report" / "outcomes.jsonl"
    lines = journal.read_text("utf-8").splitlines(keepends=True)
    journal.write_text("".join(lines[:5]) + lines[5][:9], "utf-8")
    asked: list[str] = []

    def counted(question: Asked) -> str | float:
        asked.append(question.message)
        return corrector(question)

    again = await evaluated(tmp_path, counted)
    drawn = [message for message in asked if not message.endswith("Correct?")]
    assert len(drawn) == len(lines) - 5
    assert again.lines == whole.lines
    with pytest.raises(TrainingError, match="seed was"):
        await evaluated(tmp_path, follower, seed=3)


async def test_an_engine_that_breaks_off_is_asked_again(tmp_path: Path) -> None:
    def flaky(question: Asked) -> str | float:
        if question.nth == 0 and not question.message.endswith("Correct?"):
            raise ConnectionResetError
        return corrector(question)

    found = await evaluated(tmp_path / "flaky", flaky)
    assert found.lines == (await evaluated(tmp_path / "steady", corrector)).lines


async def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"missing.*outcomes\.jsonl cannot be read"):
        await evaluated(tmp_path, corrector, against=tmp_path / "missing")
    path = tmp_path / "no-answers.jsonl"
    path.write_text('{"question": "Why?"}\n', "utf-8")
    options = EvaluateOptions(data=(path,), output=tmp_path / "out", model="m")
    with talking(corrector) as talker, pytest.raises(RowsError, match=r"no-answers\.jsonl"):
        await evaluate(options, Server(talker.url, "cap").settings(), say=lambda _line: None)


def test_a_model_is_believed_as_its_folder_says_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server("http://127.0.0.1:1/v1", "cap", About(reliability=0.4))
    assert server.settings().model_reliability == 0.4
    monkeypatch.setenv("CAP_MODEL_RELIABILITY", "0.7")
    assert server.settings().model_reliability == 0.7


def test_a_file_of_questions_that_cannot_be_used_is_named_once(tmp_path: Path) -> None:
    missing = tmp_path / "none.jsonl"
    lacking = tmp_path / "lacking.jsonl"
    lacking.write_text('{"question": "2 and 3?"}')
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(b"PAR1")
    for path, says in ((missing, "No such file"), (lacking, "'answer'"), (torn, "cannot be read")):
        with pytest.raises(RowsError) as refused:
            asyncio.run(read_items([path], most=1, seed=1, equality=MathVerify()))
        assert says in str(refused.value)
        assert str(refused.value).startswith(str(path))
