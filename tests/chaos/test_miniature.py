"""The chaos suite in small: one server, two faults, a second each; and that it would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from cap_client import Refinement
from tests.chaos import verdicts
from tests.chaos.faults import breaking_network, kill_warm
from tests.chaos.load import Load, Terms
from tests.chaos.place import place
from tests.chaos.questions import Kind, Question, program, truth
from tests.chaos.remains import left_behind, tracebacks


async def test_what_breaks_a_server_breaks_no_promise(tmp_path: Path) -> None:
    async with place(tmp_path, servers=1) as at:
        load = Load(at.url, at_once=4)
        for harm in (kill_warm, breaking_network):
            async with load.running(Terms()) as tally:
                await harm(at, 1.5)
            assert tally.wrong == []
            assert tally.sent == tally.answered > 0
        assert tracebacks(at) == 0
        at.replicas[0].kill()
        assert await left_behind(at) == []


@pytest.mark.parametrize(
    ("kind", "decision", "answer", "told"),
    [
        ("wrong", "confirmed", 105, 105),  # its programs say 100
        ("right", "corrected", 101, 101),
        ("wrong", "corrected", 105, 100),
        ("wrong", "corrected", 101, 101),
        ("split", "corrected", 100, 100),  # half of the programs are not enough
        ("right", "answered", 100, 100),
    ],
)
def test_an_untrue_decision_is_noticed(kind: Kind, decision: str, answer: int, told: int) -> None:
    question = Question(kind, 0)
    found = _refinement(question, decision, str(answer), told=str(told))
    assert verdicts.of_refinement(question, "majority", 4, found)


@pytest.mark.parametrize(
    ("kind", "decision", "answer", "told"),
    [("wrong", "corrected", 100, 100), ("right", "confirmed", 100, 100), ("crash", "kept", 105, 0)],
)
def test_a_true_decision_passes(kind: Kind, decision: str, answer: int, told: int) -> None:
    question = Question(kind, 0)
    found = _refinement(question, decision, str(answer), told=str(told) if told else None)
    assert verdicts.of_refinement(question, "majority", 4, found) == []


def test_a_program_that_nobody_recorded_is_noticed() -> None:
    with pytest.raises(KeyError):
        truth(Question("wrong", 1), program(Question("wrong", 2), 0))


def _refinement(question: Question, decision: str, answer: str, *, told: str | None) -> Refinement:
    candidate = {
        "kind": "program", "index": 0, "answer": told, "execution": None, "prompt_tokens": 1,
        "completion_tokens": 1, "log_likelihood": None, "score": None,
    }  # fmt: skip
    candidates = [{**candidate, "text": program(question, variant)} for variant in range(4)]
    return Refinement.model_validate(
        {
            "id": "ref_1", "created": 1, "model": "m", "decision": decision, "answer": answer,
            "original_answer": str(question.stated), "confidence": 0.5, "program": None,
            "execution": None, "strategy": {"name": "majority"}, "candidates": candidates,
            "trace": None, "warnings": [], "usage": {}, "stopped_by": None,
        }
    )  # fmt: skip
