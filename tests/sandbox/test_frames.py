"""Whatever a child sends, the parent reads a report or refuses: nothing else happens."""

from __future__ import annotations

import json
import struct
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cap_sandbox import Limits, Value, ValueType
from cap_sandbox.protocol import (
    MAX_VALUE_DEPTH,
    MAX_VALUE_NODES,
    FrameDecoder,
    FrameError,
    Report,
    ReportStatus,
    Spent,
    decode_report,
    encode_report,
    pack,
)
from cap_sandbox.request import pack_request, unpack_request

LIMITS = Limits(output_bytes=1000)
# Halves of characters too: programs may have them in their text.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=50)

texts = st.text(max_size=50)
leaves = st.one_of(
    st.integers().map(lambda n: Value("int", str(n))),
    st.floats().map(lambda x: Value("float", repr(x))),
    st.fractions().map(lambda x: Value("fraction", str(x))),
    st.decimals().map(lambda x: Value("decimal", str(x))).filter(lambda v: "s" not in v.text),
    st.complex_numbers(allow_nan=False).map(lambda z: Value("complex", str(z).strip("()"))),
    st.booleans().map(lambda b: Value("bool", str(b))),
    st.dates().map(lambda d: Value("date", d.isoformat())),
    st.datetimes().map(lambda d: Value("date", d.isoformat())),
    texts.map(lambda t: Value("text", t)),
    st.tuples(texts, texts).map(lambda t: Value("expression", t[0], latex=t[1])),
    st.just(Value("none", "None")),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda xs: Value("list", "[…]", items=tuple(xs))),
        st.lists(st.tuples(inner, inner), max_size=3).map(
            lambda pairs: Value("dict", "{…}", entries=tuple(pairs))
        ),
    ),
    max_leaves=20,
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["status", "value", "type", "text", "items", "entries", "latex"])
            | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


def read(sent: bytes, *, chunk: int = 7, max_bytes: int = 10_000) -> bytes:
    decoder = FrameDecoder(max_bytes)
    for start in range(0, len(sent), chunk):
        decoder.feed(sent[start : start + chunk])
    return decoder.body()


@given(values, texts, texts, st.integers(1, 5000))
def test_what_an_honest_child_sends_is_read_as_it_was_meant(
    value: Value, stdout: str, stderr: str, chunk: int
) -> None:
    report, spent = Report("ok", value, stdout, stderr), Spent(0.5, 2**20)
    body = read(pack(encode_report(report, spent)), chunk=chunk, max_bytes=2**20)
    assert decode_report(body, LIMITS) == (report, spent)


@given(ANY_TEXT, st.floats(0.05, 60), st.integers(64 * 2**20, 4 * 2**30), st.integers(0, 2**20))
def test_a_child_is_asked_for_what_was_meant_once_it_has_come_whole(
    program: str, wall_s: float, memory_bytes: int, output_bytes: int
) -> None:
    limits = Limits(wall_s, memory_bytes, output_bytes)
    sent = pack_request(program, limits, wall_s=wall_s)
    assert unpack_request(sent) == (program, limits)
    assert unpack_request(sent[:-1]) is None
    assert unpack_request(sent[:3]) is None


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_arbitrary_bytes_are_a_frame_or_refused(pieces: list[bytes]) -> None:
    decoder = FrameDecoder(200)
    try:
        for piece in pieces:
            decoder.feed(piece)
        body = decoder.body()
    except FrameError:
        return
    assert len(body) <= 200
    with pytest.raises(FrameError):
        decode_report(body, LIMITS)


@given(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["ok", "timeout", 1]) | junk,
            "value": junk
            | st.fixed_dictionaries(
                {"type": st.sampled_from(get_args(ValueType)), "text": st.text(max_size=9) | junk},
                optional={"items": junk, "entries": junk, "latex": junk},
            ),
            "stdout": st.just("") | junk,
            "stderr": st.just("") | junk,
            "cpu_s": st.just(0.1) | junk,
            "peak_memory_bytes": st.just(1) | junk,
        }
    )
    | junk
)
def test_arbitrary_json_is_a_report_or_refused(message: object) -> None:
    try:
        report, spent = decode_report(json.dumps(message).encode(), LIMITS)
    except FrameError:
        return
    assert report.status in get_args(ReportStatus)
    assert spent.cpu_s >= 0
    assert report.value is None or report.value.type in get_args(ValueType)
    report.stdout.encode()


@pytest.mark.parametrize("length", [0, 201, 2**31, 2**32 - 1])
def test_a_frame_longer_than_allowed_is_refused_at_its_header(length: int) -> None:
    decoder = FrameDecoder(200)
    if length > 200:
        with pytest.raises(FrameError):
            decoder.feed(struct.pack("!I", length))
    else:
        decoder.feed(struct.pack("!I", length))
        assert decoder.complete


@pytest.mark.parametrize("depth", [MAX_VALUE_DEPTH + 2, 100_000])
def test_a_value_nested_too_deeply_is_refused(depth: int) -> None:
    inner = '{"type":"list","text":"","items":['
    value = inner * depth + "]}" * depth
    body = (
        f'{{"status":"ok","value":{value},"stdout":"","stderr":"","cpu_s":0,"peak_memory_bytes":0}}'
    )
    with pytest.raises(FrameError):
        decode_report(body.encode(), LIMITS)


@pytest.mark.parametrize("part", ["[],", "{},", '"",', "1,", '{"":[]},'])
def test_a_frame_of_too_many_parts_is_refused_before_they_are_built(part: str) -> None:
    body = f"[{part * (2_000_000 // len(part))}1]"
    with pytest.raises(FrameError, match="too many parts"):
        decode_report(body.encode(), LIMITS)


def test_what_an_honest_child_sends_at_most_is_read() -> None:
    members = tuple(Value("text", '"' * 30 + "\\,[" * 9) for _ in range(MAX_VALUE_NODES - 1))
    report = Report("ok", Value("list", "[…]", items=members), "", "")
    body = pack(encode_report(report, Spent(0.123456789, 123456789)))[4:]
    assert decode_report(body, LIMITS)[0] == report


def report_with(**changes: object) -> bytes:
    message = encode_report(Report("ok", None, "", ""), Spent(0.0, 0)) | changes
    return json.dumps(message).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "killed"},
        {"status": ["ok"]},
        {"extra": 1},
        {"stdout": "x" * 2000},
        {"stdout": None},
        {"cpu_s": -1},
        {"cpu_s": True},
        {"cpu_s": float("nan")},
        {"peak_memory_bytes": 2**60},
        {"value": {"type": "int", "text": "1.5"}},
        {"value": {"type": "int", "text": "١"}},
        {"value": {"type": "float", "text": "x"}},
        {"value": {"type": "float", "text": "1" * 130_000 + "x"}},
        {"value": {"type": "decimal", "text": "1" * 130_000 + "x"}},
        {"value": {"type": "fraction", "text": "1" * 130_000 + "x"}},
        {"value": {"type": "complex", "text": "1" * 130_000 + "x"}},
        {"value": {"type": "fraction", "text": "1/"}},
        {"value": {"type": "decimal", "text": "one"}},
        {"value": {"type": "complex", "text": "i"}},
        {"value": {"type": "date", "text": "yesterday"}},
        {"value": {"type": "bool", "text": "true"}},
        {"value": {"type": "list", "text": "[]"}},
        {"value": {"type": "dict", "text": "{}", "entries": [[1]]}},
        {"value": {"type": "text", "text": 1}},
        {"value": {"type": "text", "text": "x" * 10**6}},
        {"value": {"type": "object", "text": ""}},
        {"value": {"text": ""}},
        {
            "value": {
                "type": "list",
                "text": "",
                "items": [{"type": "none", "text": "None"}] * (MAX_VALUE_NODES + 1),
            }
        },
    ],
)
def test_a_report_that_breaks_a_rule_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(FrameError):
        decode_report(report_with(**changes), LIMITS)


def test_half_a_pair_of_surrogates_becomes_a_question_mark() -> None:
    report, _ = decode_report(report_with(stdout="a\ud800b"), LIMITS)
    assert report.stdout == "a?b"


def test_a_value_beside_an_error_is_dropped() -> None:
    body = report_with(status="error", value={"type": "int", "text": "1"})
    assert decode_report(body, LIMITS)[0].value is None
