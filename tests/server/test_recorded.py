"""Recordings: how they are read, and what they replay."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cap_server.adapters.recorded import RecordedModel, read_recordings
from cap_server.domain import Problem, Sampling
from cap_server.errors import ModelResponseError
from cap_server.prompts import PROMPT_FORMATS, cot_prompt

ROW = {
    "id": 0,
    "question": "6 times 3?",
    "answer": 18.0,
    "cots": {"a": "It is 18."},
    "programs": {"a": "answer = 18", "b": "answer = 17"},
}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
async def test_draw_i_is_what_source_i_answered(tmp_path: Path, name: str) -> None:
    data = json.dumps(ROW).encode() + b"\n"
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    model = RecordedModel(read_recordings(tmp_path / name), sources=["b", "a"])
    problem = Problem("6 times 3?")
    prompt = PROMPT_FORMATS["trained"].program_prompt(problem)
    texts = [(await model.sample(prompt, sampling=Sampling(), draw=i)).text for i in range(2)]
    assert texts == ["answer = 17", "answer = 18"]
    assert (
        await model.sample(cot_prompt(problem), sampling=Sampling(), draw=1)
    ).text == "It is 18."
    with pytest.raises(ModelResponseError, match="no recorded program for draw 2"):
        await model.sample(prompt, sampling=Sampling(), draw=2)


@pytest.mark.parametrize("line", ["{", "[]", '{"question": "x"}'])
def test_a_line_that_is_no_recording_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl:2: expected an object with question"):
        read_recordings(path)
