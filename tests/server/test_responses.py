"""The Responses API, asked by OpenAI's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import openai
import pytest

from cap_server.app import create_app
from cap_server.domain import ChatReply
from cap_server.errors import SandboxUnavailableError
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedChat, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import listening

QUESTION = "What is 6 times 3?"
WRONG = "6 * 3 = 26. The answer is 26."


@asynccontextmanager
async def asking(
    reply: str | ChatReply = WRONG, *, sandbox: FakeSandbox | None = None
) -> AsyncIterator[tuple[openai.AsyncOpenAI, ScriptedChat]]:
    chat = ScriptedChat([reply])
    programs = sandbox or FakeSandbox({"answer=18": 18})
    given = tools(ScriptedModel(["answer=18"]), programs, chats=[chat])
    app = create_app(Settings(), tools=nullcontext(given))
    async with (
        listening(app) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client, chat


async def test_a_corrected_answer_shows_the_program_as_a_tools_call() -> None:
    async with asking() as (client, chat):
        response = await client.responses.create(
            model="cap:majority",
            input=QUESTION,
            instructions="Be brief.",
            temperature=0.5,
            max_output_tokens=99,
            metadata={"lesson": "7"},
            tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
        )
    assert response.output_text == "The answer is 18."
    assert response.status == "completed"
    items: list[Any] = list(response.output)  # their union has thirty members
    reasoning, code, message = items
    assert (reasoning.type, code.type, message.type) == (
        "reasoning",
        "code_interpreter_call",
        "message",
    )
    assert WRONG in reasoning.summary[0].text
    assert code.code == "answer=18"
    assert code.outputs[0].type == "logs"
    assert code.outputs[0].logs == "answer = 18"
    assert response.metadata == {"lesson": "7"}
    assert response.usage is not None
    assert response.model_extra is not None
    assert response.model_extra["cap"]["decision"] == "corrected"
    sent = chat.bodies[0]
    assert (sent["temperature"], sent["max_tokens"]) == (0.5, 99)
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION},
    ]


async def test_the_stream_builds_the_same_response_event_by_event() -> None:
    names, text, code, thoughts, numbers = [], "", "", "", []
    async with asking() as (client, _):
        stream: Any = await client.responses.create(
            model="cap:majority", input=QUESTION, stream=True
        )
        async for event in stream:
            names.append(event.type)
            numbers.append(event.sequence_number)
            if event.type == "response.output_text.delta":
                text += event.delta
            elif event.type == "response.code_interpreter_call_code.delta":
                code += event.delta
            elif event.type == "response.reasoning_summary_text.delta":
                thoughts += event.delta
            elif event.type == "response.completed":
                response = event.response
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-1] == "response.completed"
    assert names.count("response.output_item.added") == 3
    assert names.count("response.output_item.done") == 3
    assert numbers == list(range(len(numbers)))
    assert text == response.output_text == "The answer is 18."
    assert code == "answer=18"
    assert response.output[0].type == "reasoning"
    assert thoughts == response.output[0].summary[0].text


async def test_a_conversation_may_come_back_with_our_own_items_in_it() -> None:
    async with asking() as (client, chat):
        first = await client.responses.create(model="cap:majority", input=QUESTION)
        items: list[Any] = [each.model_dump(exclude_none=True) for each in first.output]
        again: list[Any] = [
            {"role": "user", "content": QUESTION},
            *items,
            {"role": "user", "content": "Sure?"},
        ]
        await client.responses.create(model="cap:majority", input=again)
    assert chat.bodies[1]["messages"] == [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "The answer is 18."},
        {"role": "user", "content": "Sure?"},
    ]


async def test_what_states_no_result_is_a_message_alone() -> None:
    async with asking("Hello!") as (client, _):
        response = await client.responses.create(model="cap", input="Hi")
    assert [item.type for item in response.output] == ["message"]
    assert response.output_text == "Hello!"


async def test_an_answer_that_was_cut_off_says_so() -> None:
    async with asking(ChatReply("6 * 3", "length", content=b"{}")) as (client, _):
        response = await client.responses.create(model="cap", input=QUESTION)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


async def test_a_failure_in_the_stream_is_an_error_of_the_client() -> None:
    down = FakeSandbox({}, failure=SandboxUnavailableError("The sandbox is down."))
    async with asking(sandbox=down) as (client, _):
        stream = await client.responses.create(model="cap:majority", input=QUESTION, stream=True)
        with pytest.raises(openai.APIError, match="The sandbox is down"):
            async for _event in stream:
                pass


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"input": [{"type": "function_call_output", "output": "1"}]}, "input.0.type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input.0.content.0.type",
        ),
        ({"input": []}, "input"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_and_named(
    fields: dict[str, Any], param: str
) -> None:
    async with asking() as (client, chat):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(**{"model": "cap", "input": QUESTION, **fields})
    assert refused.value.param is not None
    assert refused.value.param.startswith(param)
    assert chat.bodies == []


async def test_the_upstreams_own_models_are_elsewhere() -> None:
    async with asking() as (client, _):
        with pytest.raises(openai.NotFoundError, match="chat/completions"):
            await client.responses.create(model="scripted-chat", input=QUESTION)
