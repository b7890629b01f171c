"""What requests may hold, and that nothing else they hold is anybody's fault but theirs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from cap_server.api.chat_in import ChatIn
from cap_server.api.json_body import loads
from cap_server.api.refine import RefineIn
from cap_server.api.responses_in import ResponsesIn
from cap_server.testing import FakeSandbox, ScriptedChat, ScriptedModel
from tests.server.benches import tools
from tests.server.bodies import JSON, Path, Schema, at, replaced, scalars, type_of, values
from tests.server.conftest import listening_on

MODELS: list[type[BaseModel]] = [RefineIn, ChatIn, ResponsesIn]
NAMES = ("cap", "cap:single", "cap:majority", "scripted-chat")
SCHEMAS = {model: Schema(model.model_json_schema(), NAMES) for model in MODELS}
BODIES = {model: schema.bodies() for model, schema in SCHEMAS.items()}
PATHS = {
    RefineIn: "/v1/refine",
    ChatIn: "/v1/chat/completions",
    ResponsesIn: "/v1/responses",
}
LEAST: dict[type[BaseModel], JSON] = {
    RefineIn: {"question": "6 * 3?"},
    ChatIn: {"model": "cap", "messages": [{"role": "user", "content": "6 * 3?"}]},
    ResponsesIn: {"model": "cap", "input": "6 * 3?"},
}
OPEN: dict[type[BaseModel], set[Path]] = {
    RefineIn: set(),
    ChatIn: {(), ("messages",), ("stream_options",)},
    ResponsesIn: {("input",), ("tools",), ("text",)},
}
"""Where objects begin that take fields which are not named: they are the upstream's affair."""

whole = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
slow_to_draw = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def _holds(written: object, sent: object) -> bool:
    """Whether all that was sent is there, as it was."""
    if isinstance(sent, dict) and isinstance(written, dict):
        return all(name in written and _holds(written[name], sent[name]) for name in sent)
    if isinstance(sent, list) and isinstance(written, list):
        return len(sent) == len(written) and all(map(_holds, written, sent))
    if isinstance(written, dict):  # a strategy's name stands for the strategy
        return written.get("name") == sent
    return written == sent and isinstance(written, bool) is isinstance(sent, bool)


@whole
@slow_to_draw
@given(data=st.data())
def test_what_is_taken_is_kept_and_is_the_same_when_it_is_sent_again(
    model: type[BaseModel], data: st.DataObject
) -> None:
    body = data.draw(BODIES[model])
    taken = model.model_validate(loads(json.dumps(body).encode()))
    assert _holds(taken.model_dump(mode="json"), body)
    for dumped in (taken.model_dump_json(), taken.model_dump_json(exclude_unset=True)):
        assert model.model_validate(loads(dumped.encode())) == taken


@whole
@slow_to_draw
@given(data=st.data())
def test_a_value_of_another_type_is_refused_where_it_stands(
    model: type[BaseModel], data: st.DataObject
) -> None:
    schema = SCHEMAS[model]
    body = data.draw(BODIES[model])
    path, field = data.draw(st.sampled_from(list(schema.fields(body, schema.whole))[1:]))
    types = schema.types(field)
    taken = types | {"integer"} if "number" in types else types
    value: object = data.draw(scalars | st.sampled_from([[], {}]))
    assume(type_of(value) not in taken)
    with pytest.raises(ValidationError) as caught:
        model.model_validate(replaced(body, path, value))
    if path[-2:] == ("strategy", "name"):
        path = path[:-1]  # which says what names there are
    assert any(_at_or_within(path, fault["loc"]) for fault in caught.value.errors())


def _at_or_within(path: Path, loc: tuple[str | int, ...]) -> bool:
    """Whether pydantic's place is that of `path`: it adds names of alternatives to it."""
    left = list(path)
    for step in loc:
        if left and step == left[0]:
            left.pop(0)
    return not left


@whole
@slow_to_draw
@given(data=st.data())
def test_a_number_that_json_does_not_have_is_refused_in_every_field(
    model: type[BaseModel], data: st.DataObject
) -> None:
    schema = SCHEMAS[model]
    body = data.draw(BODIES[model])
    places = [
        path
        for path, field in schema.fields(body, schema.whole)
        if schema.types(field) & {"number", "integer"}
    ]
    assume(places)
    odd = data.draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    with pytest.raises(ValidationError):
        model.model_validate(replaced(body, data.draw(st.sampled_from(places)), odd))


@whole
@slow_to_draw
@given(data=st.data())
def test_half_a_character_is_refused_in_every_text_before_a_model_sees_it(
    model: type[BaseModel], data: st.DataObject
) -> None:
    schema = SCHEMAS[model]
    body = data.draw(BODIES[model])
    places = [
        path
        for path, field in schema.fields(body, schema.whole)
        if isinstance(at(body, path), str) and "string" in schema.types(field)
    ]
    assume(places)
    path = data.draw(st.sampled_from(places))
    half = data.draw(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"]))
    changed = replaced(body, path, f"{at(body, path)}{half}")
    with pytest.raises(ValueError, match="surrogates"):
        loads(json.dumps(changed).encode())


@whole
@slow_to_draw
@given(data=st.data())
def test_a_field_that_nobody_knows_is_refused_or_kept_but_never_dropped(
    model: type[BaseModel], data: st.DataObject
) -> None:
    schema = SCHEMAS[model]
    body = data.draw(BODIES[model])
    objects = [
        path
        for path, field in schema.fields(body, schema.whole)
        if isinstance(at(body, path), dict) and _closed_or_open(schema, field)
    ]
    path = data.draw(st.sampled_from(objects))
    name, value = data.draw(st.text(min_size=30, max_size=40)), data.draw(scalars)
    changed = replaced(body, path, {**at(body, path), name: value})
    if path[:1] in OPEN[model]:
        taken = model.model_validate(changed)
        assert at(taken.model_dump(mode="json"), (*path, name)) == value
        if model is ChatIn and value is not None:
            assert at(ChatIn.model_validate(changed).forwarded(), (*path, name)) == value
    else:
        with pytest.raises(ValidationError) as caught:
            model.model_validate(changed)
        assert any(fault["loc"][-1] == name for fault in caught.value.errors())


def _closed_or_open(schema: Schema, field: JSON) -> bool:
    """Whether it is an object with fields of its own, and no dictionary."""
    return all("properties" in each for each in schema.branches(field) if each["type"] == "object")


def _sampling(**fields: float) -> JSON:
    return {"question": "x", "sampling": fields}


def _refine(**fields: Any) -> JSON:  # noqa: ANN401  # JSON
    return {"question": "x", **fields}


def _chat(**fields: Any) -> JSON:  # noqa: ANN401  # JSON
    return {**LEAST[ChatIn], **fields}


def _response(**fields: Any) -> JSON:  # noqa: ANN401  # JSON
    return {**LEAST[ResponsesIn], **fields}


_TURN = {"role": "user", "content": "x"}
_PROGRAMS = {"name": "majority", "programs": 64}

BOUNDS: list[tuple[type[BaseModel], JSON, Path, list[Any]]] = [
    (RefineIn, {"question": "x" * 32_768}, ("question",), ["", " ", "x" * 32_769]),
    (RefineIn, _refine(cot="x" * 32_768), ("cot",), ["", "\n", "x" * 32_769]),
    (RefineIn, _refine(answer="x" * 32_768), ("answer",), ["", "x" * 32_769]),
    (RefineIn, _refine(choices=["x"] * 26), ("choices",), [[], ["x"], ["x"] * 27, ["x", ""]]),
    (RefineIn, _refine(choices=["x"] * 2), ("choices",), [["x"]]),
    (RefineIn, _refine(source="x" * 200), ("source",), ["", "x" * 201, "x\0", "x\n", "\x7f"]),
    (RefineIn, _refine(strategy=_PROGRAMS), ("strategy", "programs"), [0, 65, -1, 1.5]),
    (RefineIn, _refine(strategy="single"), ("strategy",), ["", "Single", "x" * 100_000]),
    (RefineIn, _sampling(temperature=2), ("sampling", "temperature"), [-0.01, 2.01]),
    (RefineIn, _sampling(top_p=1), ("sampling", "top_p"), [0, 1.01]),
    (RefineIn, _sampling(max_tokens=32_768), ("sampling", "max_tokens"), [0, 32_769, 2**70]),
    (RefineIn, _sampling(seed=2**53 - 1), ("sampling", "seed"), [-1, 2**53, 2**70]),
    (RefineIn, _refine(budget={"programs": 1024}), ("budget", "programs"), [0, 1025]),
    (RefineIn, _refine(budget={"tokens": 2**31}), ("budget", "tokens"), [0, 2**31 + 1]),
    (RefineIn, _refine(budget={"deadline_s": 600}), ("budget", "deadline_s"), [0, 0.009, 601]),
    (RefineIn, _refine(budget={"deadline_s": 0.01}), ("budget", "deadline_s"), [0.009]),
    (RefineIn, _refine(limits={"wall_s": 60}), ("limits", "wall_s"), [0, 0.04, 60.1]),
    (RefineIn, _refine(limits={"memory_bytes": 2**32}), ("limits", "memory_bytes"), [2**32 + 1]),
    (RefineIn, _refine(limits={"memory_bytes": 2**26}), ("limits", "memory_bytes"), [2**26 - 1]),
    (RefineIn, _refine(include=["trace"] * 8), ("include",), [["trace"] * 9, ["all"]]),
    (ChatIn, _chat(model="x" * 200), ("model",), ["", "x" * 201]),
    (ChatIn, _chat(messages=[_TURN] * 1000), ("messages",), [[], [_TURN] * 1001]),
    (ChatIn, _chat(n=8), ("n",), [0, 9, 1.5]),
    (ChatIn, _chat(seed=2**53 - 1), ("seed",), [-1, 2**53]),
    (ChatIn, _chat(temperature=2), ("temperature",), [-1, 2.01]),
    (ChatIn, _chat(top_p=1), ("top_p",), [0, 1.01]),
    (ChatIn, _chat(max_tokens=1), ("max_tokens",), [0, -1]),
    (ChatIn, _chat(max_completion_tokens=1), ("max_completion_tokens",), [0]),
    (ChatIn, _chat(presence_penalty=-2), ("presence_penalty",), [-2.01, 2.01]),
    (ChatIn, _chat(frequency_penalty=2), ("frequency_penalty",), [-2.01, 2.01]),
    (ChatIn, _chat(stop=["x"] * 16), ("stop",), [["x"] * 17, 1, {}]),
    (ChatIn, _chat(budget=64), ("budget",), [0, 65]),
    (ChatIn, _chat(optillm_approach="bon"), ("optillm_approach",), ["", "mcts"]),
    (ChatIn, _chat(cap={"choices": ["x"] * 26}), ("cap", "choices"), [["x"], ["x"] * 27]),
    (ResponsesIn, _response(model="x" * 200), ("model",), ["", "x" * 201]),
    (ResponsesIn, _response(input=[_TURN] * 999), ("input",), ["", [], [_TURN] * 1000]),
    (ResponsesIn, _response(max_output_tokens=1), ("max_output_tokens",), [0]),
    (ResponsesIn, _response(store=False), ("store",), [True, 0]),
    (ResponsesIn, _response(background=False), ("background",), [True]),
    (ResponsesIn, _response(conversation=None), ("conversation",), ["x", {}]),
    (ResponsesIn, _response(previous_response_id=None), ("previous_response_id",), ["x"]),
    (ResponsesIn, _response(metadata={"x": "y"}), ("metadata",), [{"x": 1}, {"x": None}]),
]


@pytest.mark.parametrize(
    ("model", "body", "path", "beyond"),
    BOUNDS,
    ids=[f"{model.__name__} {'.'.join(map(str, path))}" for model, _, path, _ in BOUNDS],
)
def test_a_field_takes_what_its_bound_says_and_nothing_beyond(
    model: type[BaseModel], body: JSON, path: Path, beyond: list[Any]
) -> None:
    assert _holds(model.model_validate(body).model_dump(mode="json"), body)
    for value in beyond:
        with pytest.raises(ValidationError):
            model.model_validate(replaced(body, path, value))


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    model, sandbox = ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18})
    given_tools = tools(model, sandbox, chats=[ScriptedChat(["The answer is 18."])])
    with listening_on(given_tools) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def _post(client: httpx.Client, model: type[BaseModel], body: bytes) -> int:
    """The status, of an answer that is whole and an error that is the client's."""
    response = client.post(PATHS[model], content=body, headers={"Content-Type": "application/json"})
    status = response.status_code
    if status == 200:
        assert response.text.strip(), body
        return status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}, body
    assert len(error["message"]) < 2000, body
    # 10 ms may pass before there is an answer, and there is no reward model here.
    honest = {504: "deadline", 503: "critic_unavailable"}
    assert status in (400, 404, 422) or error["code"] == honest.get(status), (status, body)
    return status


@whole
@slow_to_draw
@given(value=values)
def test_any_json_at_all_gets_an_answer_or_an_error_of_the_clients(
    client: httpx.Client, model: type[BaseModel], value: object
) -> None:
    assert _post(client, model, json.dumps(value).encode()) in (400, 422)


@whole
@slow_to_draw
@given(data=st.data())
def test_any_json_in_any_field_gets_an_answer_or_an_error_of_the_clients(
    client: httpx.Client, model: type[BaseModel], data: st.DataObject
) -> None:
    schema = SCHEMAS[model]
    body = data.draw(BODIES[model])
    path, _ = data.draw(st.sampled_from(list(schema.fields(body, schema.whole))))
    _post(client, model, json.dumps(replaced(body, path, data.draw(values))).encode())


@whole
@slow_to_draw
@given(data=st.data())
def test_what_no_json_can_hold_is_refused_wherever_it_stands(
    client: httpx.Client, model: type[BaseModel], data: st.DataObject
) -> None:
    schema = SCHEMAS[model]
    body = data.draw(BODIES[model])
    path, _ = data.draw(st.sampled_from(list(schema.fields(body, schema.whole))))
    odd = data.draw(
        st.sampled_from(["NaN", "-Infinity", "1e999", r'"\ud800"', r'{"\udfff": 1}', "[+1]"])
    )
    text = json.dumps(replaced(body, path, "the place")).replace('"the place"', odd)
    assert _post(client, model, text.encode()) == 400


_TERMS: JSON = {
    "strategy": {"name": "bonbon", "cots": 1, "programs": 1, "critic": "likelihood"},
    "sampling": {"temperature": 0, "top_p": 1, "max_tokens": 9, "seed": 7},
    "budget": {"programs": 1, "tokens": 99, "deadline_s": 9},
    "limits": {"wall_s": 1, "memory_bytes": 2**28},
    "include": ["trace"],
}
_PRIOR: JSON = {"answer": "18", "choices": ["18", "26"], "source": "me"}
_CAP: JSON = {**_TERMS, **_PRIOR}
FULL: dict[type[BaseModel], JSON] = {
    RefineIn: {**_TERMS, **_PRIOR, "question": "6 * 3?", "cot": "18", "stream": False},
    ChatIn: {
        "model": "cap",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "6 * 3?"}]}],
        "n": 1, "stream": False, "stream_options": {"include_usage": True}, "seed": 7,
        "temperature": 0, "top_p": 1, "max_tokens": 9, "max_completion_tokens": 9,
        "presence_penalty": 0, "frequency_penalty": 0, "stop": ["x"], "user": "x", "cap": _CAP,
        "optillm_approach": None, "budget": None,
    },
    ResponsesIn: {
        "model": "cap",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "?"}]}
        ],
        "instructions": "x", "stream": False, "temperature": 0, "top_p": 1,
        "max_output_tokens": 9, "metadata": {"x": "y"}, "user": "x", "cap": _CAP,
        "include": ["code_interpreter_call.outputs"], "store": False, "background": False,
        "previous_response_id": None, "conversation": None,
        "tools": [{"type": "code_interpreter"}], "tool_choice": "auto",
        "parallel_tool_calls": False, "text": {"format": {"type": "text"}},
        "truncation": "disabled",
    },
}  # fmt: skip
"""Every field that there is, with something that may stand in it."""

ODD: list[object] = [
    None, True, False, 0, -1, 1.5, 2**70, "", "x", "\0", "\u202e", [], {}, [[]], [{}], [None],
    {"name": []}, {"name": {}}, {"type": []}, {"x": {"x": []}},
]  # fmt: skip


def _places(value: object, at: Path = ()) -> Iterator[Path]:
    yield at
    named = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        named = dict(enumerate(value))
    for step, each in named.items():
        yield from _places(each, (*at, step))


@whole
def test_every_odd_value_in_every_field_gets_an_answer_or_an_error_of_the_clients(
    client: httpx.Client, model: type[BaseModel]
) -> None:
    assert _post(client, model, json.dumps(FULL[model]).encode()) == 200
    assert FULL[model].keys() == SCHEMAS[model].whole["properties"].keys()
    for path in _places(FULL[model]):
        for value in ODD:
            _post(client, model, json.dumps(replaced(FULL[model], path, value)).encode())


@whole
def test_the_least_that_a_request_may_hold_is_served(
    client: httpx.Client, model: type[BaseModel]
) -> None:
    assert _post(client, model, json.dumps(LEAST[model]).encode()) == 200
