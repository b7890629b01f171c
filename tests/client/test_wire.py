"""What the server writes is JSON like any other, and the client reads of it what was meant."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import cap_client
from cap_client._lines import Lines
from cap_sandbox import Execution, Limits, Value
from cap_sandbox.wire import decode_execution, decode_request, encode_execution, encode_request
from cap_server.api.batch import BatchItemOut
from cap_server.api.refinement import RefinementOut
from cap_server.api.terms import TermsIn
from cap_server.domain import Answer, Candidate, Refinement, Step, Usage
from tests.sandbox.test_frames import values

texts = st.text(max_size=30)  # any characters but halves of them
seconds = st.floats(0, 1e9)
counts = st.integers(0, 2**53 - 1)
answers = st.none() | texts.map(Answer)
executions = st.builds(
    Execution,
    status=st.just("ok"),
    value=st.none() | values,
    stdout=texts,
    stderr=texts,
    wall_s=seconds,
    cpu_s=seconds,
    peak_memory_bytes=counts,
)
candidates = st.builds(
    Candidate,
    kind=st.sampled_from(["cot", "program"]),
    index=st.integers(0, 63),
    text=texts,
    answer=answers,
    execution=st.none() | executions,
    prompt_tokens=counts,
    completion_tokens=counts,
    log_likelihood=st.none() | st.floats(-100, 0),
    score=st.none() | st.floats(0, 1),
)
steps = st.builds(
    Step,
    event=st.sampled_from(["vote", "posterior", "score", "cancelled", "decided"]),
    programs=st.integers(0, 64),
    weights=st.lists(st.tuples(st.none() | texts, st.floats(0, 64)), max_size=3).map(tuple),
    detail=texts,
)
usages = st.builds(Usage, counts, counts, counts, counts, counts, counts, counts, counts, seconds)
refinements = st.builds(
    Refinement,
    decision=st.sampled_from(["confirmed", "corrected", "kept", "answered", "unresolved"]),
    answer=answers,
    original_answer=answers,
    confidence=st.floats(0, 1),
    winner=st.none() | candidates,
    candidates=st.lists(candidates, max_size=2).map(tuple),
    usage=usages,
    stopped_by=st.sampled_from([None, "deadline", "programs", "tokens"]),
    trace=st.lists(steps, max_size=2).map(tuple),
    warnings=st.lists(texts, max_size=2).map(tuple),
)
TERMS = TermsIn(include=["candidates", "trace"])


def strictly(text: str | bytes) -> object:
    """JSON as RFC 8259 has it: no NaN, no infinities."""
    return json.loads(text, parse_constant=pytest.fail)


def written(refinement: Refinement) -> RefinementOut:
    return RefinementOut.of(refinement, TERMS, model="m", id_="ref_1")


def same(ours: BaseModel, read: BaseModel) -> bool:
    return strictly(ours.model_dump_json()) == strictly(read.model_dump_json(exclude_unset=True))


@given(refinements)
def test_the_client_reads_a_refinement_as_the_server_wrote_it(refinement: Refinement) -> None:
    ours = written(refinement)
    read = cap_client.Refinement.model_validate_json(ours.model_dump_json())
    assert same(ours, read)


@given(refinements, texts, st.integers(1, 7))
def test_a_line_of_a_batch_is_one_line_however_it_is_cut_and_whatever_is_in_it(
    refinement: Refinement, name: str, size: int
) -> None:
    # U+2028, U+0085 and others end lines for `str.splitlines`, and stand in JSON as they are.
    ours = BatchItemOut(
        index=0, custom_id=name, status=200, refinement=written(refinement), error=None
    )
    sent, lines, got = ours.model_dump_json().encode() + b"\n", Lines(), list[bytes]()
    for at in range(0, len(sent), size):
        got += lines.feed(sent[at : at + size])
    assert got == [sent[:-1]]
    assert same(ours, cap_client.BatchItem.model_validate_json(got[0]))


@given(executions)
def test_the_sandbox_and_the_server_agree_on_an_execution(execution: Execution) -> None:
    sent = json.dumps(encode_execution(execution), allow_nan=False).encode("ascii")
    read = decode_execution(sent)
    assert encode_execution(read) == encode_execution(execution)


@given(
    st.text(st.characters(exclude_categories=()), max_size=50),
    st.floats(0.05, 60),
    st.integers(64 * 1024**2, 4 * 1024**3),
)
def test_the_sandbox_is_asked_for_the_program_that_was_meant(
    program: str, wall_s: float, memory_bytes: int
) -> None:
    limits = Limits(wall_s=wall_s, memory_bytes=memory_bytes)
    assert decode_request(encode_request(program, limits)) == (program, limits)


def test_an_integer_of_any_size_is_exact() -> None:
    value = Value("int", "7" * 50_000)
    refinement = Refinement(
        "answered", Answer(value.text), None, 1.0,
        Candidate("program", 0, "x", execution=Execution("ok", value)), (), Usage(),
    )  # fmt: skip
    read = cap_client.Refinement.model_validate_json(written(refinement).model_dump_json())
    assert read.execution is not None
    assert read.execution.value is not None
    assert (read.answer, read.execution.value.text) == (value.text, value.text)
