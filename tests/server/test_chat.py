"""Chat completions: OpenAI's contract, and when an answer is corrected, kept or passed through."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from cap_server.domain import ChatReply
from cap_server.errors import CapError, InvalidRequestError, ModelUnavailableError
from cap_server.strategies import STRATEGIES
from cap_server.testing import FakeSandbox, ScriptedChat, ScriptedModel
from tests.server.benches import tools, until
from tests.server.conftest import listening_on, served
from tests.server.test_streaming import events

QUESTION = {"role": "user", "content": "What is 6 times 3?"}
WRONG = "6 * 3 = 26. The answer is 26."
PATH = "/v1/chat/completions"


@asynccontextmanager
async def chatting(
    *script: str | ChatReply | CapError, programs: int | None = 18, writer: bool = True
) -> AsyncIterator[tuple[httpx.AsyncClient, ScriptedChat, ScriptedModel]]:
    """A server whose chat model answers by `script`, and whose programs all come to one answer."""
    chat = ScriptedChat(script or [WRONG])
    model = ScriptedModel([f"answer={programs}"])
    sandbox = FakeSandbox({} if programs is None else {f"answer={programs}": programs})
    async with served(tools(model, sandbox, chats=[chat] if writer else [])) as client:
        yield client, chat, model


def asked(*messages: dict[str, Any], **fields: object) -> dict[str, Any]:
    return {"model": "cap:majority", "messages": list(messages) or [QUESTION], **fields}


async def test_a_wrong_answer_is_corrected_and_carries_its_evidence() -> None:
    async with chatting() as (client, chat, _):
        response = await client.post(PATH, json=asked())
    completion = response.json()
    choice = completion["choices"][0]
    assert completion["object"] == "chat.completion"
    assert completion["model"] == "cap:majority"
    assert choice["message"]["content"] == "The answer is 18."
    assert choice["finish_reason"] == "stop"
    assert choice["cap"]["decision"] == "corrected"
    assert choice["cap"]["original_answer"] == "26"
    assert choice["cap"]["program"] == "answer=18"
    reasoning = choice["message"]["reasoning_content"]
    assert reasoning.index(WRONG) < reasoning.index("answer=18") < reasoning.index("26 → 18")
    assert chat.bodies == [{"messages": [QUESTION], "model": "cap:majority"}]


@pytest.mark.parametrize(
    ("like", "content"),
    [
        ("6 * 3 is $\\boxed{26}$", "The answer is $\\boxed{18}$."),
        ("6 * 3 = 26\n#### 26", "The answer is 18.\n#### 18"),
        ("6乘3等于26。答案是26。", "答案是18。"),
        ("So 6 * 3 = 26 apples are left.", "The answer is 18."),
    ],
)
async def test_a_correction_has_the_form_of_what_it_replaces(like: str, content: str) -> None:
    async with chatting(like) as (client, _, _):
        response = await client.post(PATH, json=asked())
    assert response.json()["choices"][0]["message"]["content"] == content


async def test_a_right_answer_stays_as_the_model_wrote_it() -> None:
    right = "  6 * 3 = 18,\n\nso the answer is **18**.  "
    async with chatting(right) as (client, _, _):
        choice = (await client.post(PATH, json=asked())).json()["choices"][0]
    assert choice["message"]["content"] == right
    assert choice["cap"]["decision"] == "confirmed"


@pytest.mark.parametrize(
    "text",
    [
        "Hello! How can I help you today?",
        "I have 2 ideas for you, and 3 more tomorrow.",
        "The war began in 1939. It ended in 1945.",
        "# 12 tips\n\n1. Sleep 8 hours.\n2. Drink 2 litres of water.",
        "你好！有什么可以帮你的吗？",
        "```python\nx = 5\n```\nThis sets a variable.",
    ],
)
async def test_what_states_no_result_passes_through_byte_for_byte(text: str) -> None:
    async with chatting(text) as (client, _, model):
        choice = (await client.post(PATH, json=asked())).json()["choices"][0]
        stream = await client.post(PATH, json=asked(stream=True))
    assert choice["message"] == {
        "role": "assistant",
        "content": text,
        "reasoning_content": None,
        "refusal": None,
    }
    assert choice["cap"] is None
    assert model.prompts == []
    assert streamed(stream.text)["content"] == text


async def test_an_answer_that_no_program_supports_stays() -> None:
    async with chatting(programs=None) as (client, _, _):
        choice = (await client.post(PATH, json=asked())).json()["choices"][0]
    assert choice["message"]["content"] == WRONG
    assert choice["cap"]["decision"] == "unresolved"


async def test_an_answer_that_was_cut_off_is_left_alone() -> None:
    cut_off = ChatReply(WRONG, "length", 10, 20, b"{}")
    async with chatting(cut_off) as (client, _, model):
        completion = (await client.post(PATH, json=asked())).json()
    assert completion["choices"][0]["finish_reason"] == "length"
    assert completion["choices"][0]["message"]["content"] == WRONG
    assert completion["usage"]["total_tokens"] == 30
    assert model.prompts == []


async def test_a_conversation_that_ends_with_an_answer_has_it_refined() -> None:
    async with chatting() as (client, chat, _):
        body = asked(QUESTION, {"role": "assistant", "content": WRONG}, temperature=0.3)
        choice = (await client.post(PATH, json=body)).json()["choices"][0]
    assert chat.bodies == []
    assert choice["message"]["content"] == "The answer is 18."
    assert "temperature" in choice["cap"]["warnings"][0]


async def test_roles_and_parts_reach_the_model_and_earlier_turns_the_programs() -> None:
    system = {"role": "system", "content": "Be brief. 4711"}
    parts = [{"type": "text", "text": "Tom has 6 bags"}, {"type": "text", "text": "of 3."}]
    messages: list[dict[str, Any]] = [
        system,
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "I see."},
        {"role": "user", "content": "How many in all?"},
    ]
    async with chatting() as (client, chat, model):
        await client.post(PATH, json=asked(*messages))
    assert chat.bodies[0]["messages"] == messages
    prompt = model.prompts[0].problem.question
    assert prompt == ("User: Tom has 6 bags\nof 3.\n\nAssistant: I see.\n\nUser: How many in all?")


async def test_what_is_said_about_the_answer_reaches_the_model_that_writes_it() -> None:
    said = {
        "temperature": 0.3,
        "top_p": 0.8,
        "max_completion_tokens": 99,
        "stop": ["END"],
        "presence_penalty": 0.5,
        "user": "u1",
        "top_k": 20,
        "seed": 7,
    }
    async with chatting() as (client, chat, model):
        await client.post(PATH, json=asked(**said))
        await client.post(PATH, json=asked(**said))
    assert chat.bodies[0] == {"messages": [QUESTION], "model": "cap:majority", **said}
    seeds = [each.seed for each in model.samplings]
    assert None not in seeds
    assert seeds[: len(seeds) // 2] == seeds[len(seeds) // 2 :]


async def test_each_of_n_answers_is_drawn_and_refined_by_itself() -> None:
    async with chatting(WRONG, "The answer is 18.") as (client, chat, _):
        completion = (await client.post(PATH, json=asked(n=2, seed=1))).json()
    decisions = [choice["cap"]["decision"] for choice in completion["choices"]]
    assert decisions == ["corrected", "confirmed"]
    assert [choice["index"] for choice in completion["choices"]] == [0, 1]
    assert chat.bodies[0]["seed"] != chat.bodies[1]["seed"]


async def test_usage_counts_all_draws() -> None:
    chat = ChatReply(WRONG, "stop", 11, 13, b"{}")
    async with chatting(chat) as (client, _, _):
        body = asked(cap={"include": ["candidates"]})
        completion = (await client.post(PATH, json=body)).json()
    spent, usage = completion["choices"][0]["cap"]["usage"], completion["usage"]
    assert usage["prompt_tokens"] == 11 + spent["prompt_tokens"]
    assert usage["completion_tokens"] == 13 + spent["completion_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert completion["choices"][0]["cap"]["candidates"]


def streamed(text: str) -> dict[str, Any]:
    """The chunks of choice 0, put together."""
    *chunks, done = [data for _, data in events(text)]
    assert done == "[DONE]"
    whole: dict[str, Any] = {"content": "", "reasoning_content": "", "chunks": chunks}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for key, value in choice["delta"].items():
                whole[key] = whole.get(key, "") + value
            if choice["finish_reason"]:
                whole |= {"finish_reason": choice["finish_reason"], "cap": choice["cap"]}
    return whole


async def test_a_stream_says_the_same_as_the_whole_answer() -> None:
    async with chatting() as (client, _, _):
        whole = (await client.post(PATH, json=asked(seed=1))).json()["choices"][0]
        options = {"include_usage": True}
        response = await client.post(PATH, json=asked(seed=1, stream=True, stream_options=options))
    told = streamed(response.text)
    assert told["role"] == "assistant"
    assert told["content"] == whole["message"]["content"]
    assert told["reasoning_content"] == whole["message"]["reasoning_content"]
    assert told["finish_reason"] == whole["finish_reason"]
    assert told["cap"]["decision"] == "corrected"
    assert told["chunks"][-1]["choices"] == []
    assert told["chunks"][-1]["usage"]["total_tokens"] >= 0
    assert len({chunk["id"] for chunk in told["chunks"]}) == 1


async def test_a_reader_that_leaves_cancels_the_models_answer() -> None:
    chat = ScriptedChat([WRONG], delay_s=60)
    given = tools(ScriptedModel(["answer=18"]), FakeSandbox({}), chats=[chat])
    with listening_on(given) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(PATH, json=asked(stream=True), timeout=0.5)
        await until(lambda: chat.cancelled == 1)


async def test_without_a_model_that_answers_programs_work_the_question_out() -> None:
    async with chatting(writer=False) as (client, _, _):
        choice = (await client.post(PATH, json=asked())).json()["choices"][0]
    assert choice["message"]["content"] == "The answer is 18."
    assert choice["cap"]["decision"] == "answered"


async def test_without_a_model_that_answers_nothing_is_made_up() -> None:
    async with chatting(writer=False, programs=None) as (client, _, _):
        response = await client.post(PATH, json=asked())
        stream = await client.post(PATH, json=asked(stream=True))
    assert (response.status_code, response.json()["error"]["code"]) == (422, "unresolved")
    assert "CAP_COT_MODEL" in response.json()["error"]["message"]
    assert events(stream.text)[-2][1]["error"]["code"] == "unresolved"


async def test_the_upstreams_own_model_answers_unrefined() -> None:
    async with chatting() as (client, chat, model):
        fields = {"tools": [{"type": "function"}], "logprobs": True, "n": 2}
        body = {"model": "scripted-chat", "messages": [QUESTION], **fields}
        response = await client.post(PATH, json=body)
        stream = await client.post(PATH, json={**body, "stream": True})
        none = await client.post(PATH, json=asked(model="cap", optillm_approach="none"))
    assert response.json()["choices"][0]["message"]["content"] == WRONG
    assert chat.bodies[0] == body
    said = [data["choices"][0]["delta"]["content"] for _, data in events(stream.text)[:-1]]
    assert " ".join(said) == WRONG
    assert stream.text.count("[DONE]") == 1
    assert none.json()["choices"][0]["message"]["content"] == WRONG
    assert model.prompts == []


@pytest.mark.parametrize(
    ("fields", "strategy"),
    [
        ({"model": "cap"}, {"name": "adaptive"}),
        ({"model": "cap:single"}, {"name": "single"}),
        (
            {"model": "cap", "cap": {"strategy": {"name": "majority", "programs": 3}}},
            {"name": "majority", "programs": 3},
        ),
        ({"model": "cap", "optillm_approach": "bon"}, {"name": "best_of_n"}),
        ({"model": "cap", "optillm_approach": "self_consistency"}, {"name": "majority"}),
        ({"model": "cap", "budget": 5}, {"name": "majority", "programs": 5}),
        ({"model": "cap:adaptive", "budget": 5}, {"name": "adaptive", "max_programs": 5}),
        (
            {"model": "cap:majority", "optillm_approach": "majority_voting", "budget": 2},
            {"name": "majority", "programs": 2},
        ),
    ],
)
async def test_the_strategy_is_named_in_any_of_the_fields_ways(
    fields: dict[str, Any], strategy: dict[str, Any]
) -> None:
    async with chatting() as (client, _, _):
        response = await client.post(PATH, json={"messages": [QUESTION], **fields})
    assert response.json()["choices"][0]["cap"]["strategy"].items() >= strategy.items()


INVALID: list[tuple[dict[str, Any], int, str | None, str]] = [
    ({"model": "gpt-9"}, 404, "model", "there are cap, cap:adaptive"),
    ({"model": "cap:magic"}, 404, "model", "one of adaptive, single"),
    ({"cap": {"strategy": "magic"}}, 400, "cap.strategy", "must be one of adaptive"),
    ({"cap": {"strategy": "pot"}}, 400, "cap.strategy", "name one of them"),
    ({"optillm_approach": "bon"}, 400, "optillm_approach", "name one of them"),
    ({"optillm_approach": "mcts"}, 400, "optillm_approach", "'bon'"),
    ({"model": "cap:single", "budget": 4}, 400, "budget", "no number of programs"),
    ({"budget": 65}, 400, "budget", "less than or equal to 64"),
    ({"model": "scripted-chat", "cap": {}}, 400, "cap", "unrefined"),
    ({"messages": []}, 400, "messages", "at least 1"),
    ({"messages": [{"role": "assistant", "content": "18"}]}, 400, "messages", "must ask"),
    (
        {"messages": [QUESTION, {"role": "system", "content": "x"}]},
        400,
        "messages.1.role",
        "the last message",
    ),
    ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "messages.0.role", "system"),
    ({"messages": [{"role": "user", "content": " "}]}, 400, "messages.0.content", "no text"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        400,
        "messages.0.content.0.type",
        "text only",
    ),
    ({"messages": [{"role": "user", "content": "x" * 40_000}]}, 400, "messages", "32768"),
    ({"n": 9}, 400, "n", "less than or equal to 8"),
    ({"n": 0}, 400, "n", "greater than or equal to 1"),
    ({"temperature": 3}, 400, "temperature", "less than or equal to 2"),
    ({"tools": [{"type": "function"}]}, 400, "tools", "cannot be refined"),
    ({"response_format": {"type": "json_object"}}, 400, "response_format", "plain text"),
    ({"logprobs": True}, 400, "logprobs", "log-probabilities"),
    ({"cap": {"question": "x"}}, 400, "cap.question", "no such field"),
]


@pytest.mark.parametrize(("fields", "status", "param", "message"), INVALID)
async def test_what_cannot_be_honoured_is_refused_and_named(
    fields: dict[str, Any], status: int, param: str | None, message: str
) -> None:
    async with chatting() as (client, chat, model):
        response = await client.post(PATH, json=asked(**fields))
    assert response.status_code == status
    error = response.json()["error"]
    assert error["param"] == param
    assert message in error["message"]
    assert chat.bodies == []
    assert model.prompts == []


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"tool_choice": "none"},
        {"logprobs": False},
        {"response_format": {"type": "text"}},
        {"n": None, "stop": None, "seed": None, "stream": None, "cap": None},
    ],
)
async def test_fields_that_ask_for_nothing_are_no_reason_to_refuse(fields: dict[str, Any]) -> None:
    async with chatting() as (client, _, _):
        assert (await client.post(PATH, json=asked(**fields))).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_the_models_failures_are_told_with_their_status(stream: bool) -> None:
    down = ModelUnavailableError("The model is down.", retry_after_s=5)
    refused = InvalidRequestError("The model refuses this request: too hot", param="temperature")
    async with chatting(down, refused) as (client, _, _):
        first = await client.post(PATH, json=asked(stream=stream))
        second = await client.post(PATH, json=asked(stream=stream))
    assert (first.status_code, first.headers["retry-after"]) == (503, "5")
    assert second.json()["error"]["param"] == "temperature"


async def test_the_models_are_those_that_refine_and_the_upstreams_own() -> None:
    async with chatting() as (client, _, _):
        listed = (await client.get("/v1/models")).json()["data"]
        one = await client.get("/v1/models/cap:majority")
        none = await client.get("/v1/models/nobody/knows")
    ids = [each["id"] for each in listed]
    assert ids[: len(STRATEGIES) + 1] == ["cap", *(f"cap:{name}" for name in STRATEGIES)]
    assert "scripted" in ids
    assert one.json()["role"] == "refines"
    assert (none.status_code, none.json()["error"]["code"]) == (404, "model_not_found")


async def test_malformed_json_is_refused_with_its_position() -> None:
    async with chatting() as (client, _, _):
        headers = {"Content-Type": "application/json"}
        response = await client.post(PATH, content=b'{"model": "cap",}', headers=headers)
    assert response.status_code == 400
    # Python 3.13 points at the comma, earlier versions at what follows it.
    assert re.search(r"at character 1[56]\b", response.json()["error"]["message"])


async def test_the_prompt_does_not_choose_the_strategy() -> None:
    told = "Use optillm_approach=bon. cap:single <optillm_approach>bon</optillm_approach> 6*3?"
    async with chatting() as (client, _, _):
        body = {"model": "cap", "messages": [{"role": "user", "content": told}]}
        choice = (await client.post(PATH, json=body)).json()["choices"][0]
    assert choice["cap"]["strategy"]["name"] == "adaptive"
    assert json.dumps(choice)
