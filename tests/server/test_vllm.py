"""The model adapter over real sockets: what it sends, and what it makes of every fault."""

from __future__ import annotations

import asyncio

import pytest

from cap_server.adapters import upstream as upstreams
from cap_server.adapters.upstream import model_client
from cap_server.adapters.vllm import VLLMModel
from cap_server.domain import Message, Problem, Prompt, Sampling
from cap_server.errors import (
    CapError,
    ModelResponseError,
    ModelUnavailableError,
    PromptTooLongError,
)
from tests.server.benches import until
from tests.server.upstreams import (
    Respond,
    Upstream,
    answers,
    breaks_off,
    completes,
    hangs,
    refuses,
    upstream,
)

PROMPT = Prompt("program", Problem("Q"), (Message("user", "Question: Q"),), stop=("END",))
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=64, seed=5)


async def sample(to: Upstream, *, read_timeout_s: float = 5, api_key: str | None = None) -> str:
    async with model_client(connections=4, read_timeout_s=read_timeout_s) as client:
        model = VLLMModel(upstreams.Upstream(client, url=to.url, name="m", api_key=api_key))
        return (await model.sample(PROMPT, sampling=SAMPLING, draw=0)).text


async def test_a_draw_sends_all_that_was_asked_for() -> None:
    async with upstream(completes("answer=1")) as server:
        assert await sample(server, api_key="secret") == "answer=1"
    assert server.bodies == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Question: Q"}],
            "temperature": 0.7,
            "top_p": 0.9,
            "max_tokens": 64,
            "seed": 5,
            "stop": ["END"],
        }
    ]
    assert b"authorization: bearer secret" in server.headers[0].lower()


@pytest.mark.parametrize(("finish_reason", "complete"), [("stop", True), ("length", False)])
async def test_a_sample_tells_tokens_and_whether_it_is_complete(
    finish_reason: str, complete: bool
) -> None:
    async with (
        upstream(completes("x", finish_reason=finish_reason)) as server,
        model_client(connections=1, read_timeout_s=5) as client,
    ):
        model = VLLMModel(upstreams.Upstream(client, url=server.url, name="m"))
        got = await model.sample(PROMPT, sampling=SAMPLING, draw=0)
    assert (got.complete, got.prompt_tokens, got.completion_tokens) == (complete, 7, 5)
    assert got.model_s > 0


@pytest.mark.parametrize("content", ["", None])
async def test_an_empty_completion_is_an_empty_sample(content: str | None) -> None:
    async with upstream(completes(content)) as server:
        assert await sample(server) == ""


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (answers("200 OK", "<html>hello</html>"), ModelResponseError, "no completion"),
        (answers("200 OK", b"\xff\xfe\x00"), ModelResponseError, "no completion"),
        (answers("200 OK", '{"choices": []}'), ModelResponseError, "without a completion"),
        (answers("200 OK", '{"choices": [{"message": 3}]}'), ModelResponseError, "no completion"),
        (refuses("500 Oops", message="CUDA at /root/x"), ModelResponseError, "status 500"),
        (answers("302 Found", "", headers="Location: /\r\n"), ModelResponseError, "status 302"),
        (refuses("400 Bad", message="temperature"), ModelResponseError, "status 400"),
        (refuses("401 No"), ModelResponseError, "credentials"),
        (refuses("404 No"), ModelResponseError, "does not serve 'm'"),
        (refuses("429 Slow down"), ModelUnavailableError, "overloaded"),
        (refuses("503 Busy"), ModelUnavailableError, "overloaded"),
        (refuses("400 Bad", param="input_tokens"), PromptTooLongError, "too long"),
        (refuses("400 Bad", message="maximum context length"), PromptTooLongError, "too long"),
        (breaks_off, ModelUnavailableError, "broke off"),
        (hangs, ModelUnavailableError, "broke off"),
    ],
)
async def test_every_upstream_fault_is_an_error_of_ours_without_the_upstreams_text(
    fault: Respond, error: type[CapError], message: str
) -> None:
    async with upstream(fault) as server:
        with pytest.raises(error, match=message) as caught:
            await sample(server, read_timeout_s=0.3 if fault is hangs else 60)
    assert "/root" not in caught.value.message


async def test_retry_after_is_passed_on() -> None:
    async with upstream(answers("429 No", "", headers="Retry-After: 17\r\n")) as server:
        with pytest.raises(ModelUnavailableError) as caught:
            await sample(server)
    assert caught.value.retry_after_s == 17


async def test_a_refused_connection_is_retried_and_then_says_that_the_model_is_down() -> None:
    async with upstream(completes("x")) as server:
        url = server.url
    with pytest.raises(ModelUnavailableError, match="cannot be reached"):
        await sample(Upstream(url=url))


async def test_a_request_that_reached_the_upstream_is_not_sent_again() -> None:
    async with upstream(refuses("500 Oops")) as server:
        with pytest.raises(ModelResponseError):
            await sample(server)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("input_tokens", "too many"),
        ("max_tokens", "max_tokens=512 cannot be greater than max_model_len=256."),
    ],
)
async def test_a_ceiling_that_exceeds_the_context_gives_way_to_the_room_there_is(
    param: str, message: str
) -> None:
    refusal = refuses("400 Bad", param=param, message=message)
    async with upstream(refusal, completes("ok")) as server:
        assert await sample(server) == "ok"
    assert "max_tokens" in server.bodies[0]
    assert "max_tokens" not in server.bodies[1]


async def test_cancelling_a_draw_closes_its_connection() -> None:
    async with upstream(hangs) as server:
        drawing = asyncio.ensure_future(sample(server, read_timeout_s=60))
        await until(lambda: server.bodies)
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing
        await asyncio.wait_for(server.gone.wait(), timeout=30)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (answers("200 OK", '{"data": [{"id": "m"}]}'), None),
        (answers("200 OK", '{"data": [{"id": "other"}]}'), "does not serve 'm'"),
        (answers("200 OK", "garbage"), "does not list"),
    ],
)
async def test_check_tells_whether_the_model_is_served(
    response: Respond, error: str | None
) -> None:
    async with (
        upstream(response) as server,
        model_client(connections=1, read_timeout_s=5) as client,
    ):
        check = VLLMModel(upstreams.Upstream(client, url=server.url, name="m")).check()
        if error is None:
            await check
        else:
            with pytest.raises(ModelResponseError, match=error):
                await check
