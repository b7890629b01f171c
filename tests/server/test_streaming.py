"""A refinement that is streamed: events as they happen, honest errors, and readers that leave."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from cap_server.api.event_stream import event_stream
from cap_server.domain import Prompt, Sample, Sampling
from cap_server.errors import ModelUnavailableError, SandboxUnavailableError
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import programs_that_come_to, tools, until
from tests.server.conftest import listening, listening_on, served

Scripted = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

BODY = {
    "question": "What is 6 times 3?",
    "cot": "6 * 3 = 26. The answer is 26.",
    "strategy": {"name": "majority", "programs": 3},
    "include": ["trace"],
}
STREAMED = {**BODY, "stream": True}


def events(text: str) -> list[tuple[str | None, Any]]:
    """Each event's name and what it says, comments left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if fields:
            data = fields["data"]
            found.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
    return found


async def test_what_happens_is_sent_as_it_happens_and_ends_with_the_whole_refinement(
    scripted: Scripted,
) -> None:
    async with scripted(18, 18, 18) as client:
        whole = (await client.post("/v1/refine", json=BODY)).json()
        response = await client.post("/v1/refine", json=STREAMED)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    *told, (last, refinement), done = events(response.text)
    assert done == (None, "[DONE]")
    assert last == "decision"
    for field in ("decision", "answer", "program", "confidence", "trace", "strategy"):
        assert refinement[field] == whole[field]
    candidates = [data["candidate"] for name, data in told if name == "candidate"]
    executions = [data for name, data in told if name == "execution"]
    steps = [data["step"] for name, data in told if name == "step"]
    assert [each["text"] for each in candidates] == ["answer=18"] * 3
    assert all(each["execution"] is None for each in candidates)
    assert [each["answer"] for each in executions] == ["18"] * 3
    assert steps == refinement["trace"]
    assert {data["id"] for _, data in told} == {refinement["id"]}


async def test_a_program_is_told_of_before_it_runs(scripted: Scripted) -> None:
    async with scripted(18) as client:
        body = {**STREAMED, "strategy": "single"}
        told = events((await client.post("/v1/refine", json=body)).text)
    assert [name for name, _ in told][:2] == ["candidate", "execution"]


async def test_what_fails_before_the_first_event_is_an_ordinary_error() -> None:
    down = ModelUnavailableError("The model is down.", retry_after_s=5)
    async with served(tools(ScriptedModel([down]), FakeSandbox({}))) as client:
        response = await client.post("/v1/refine", json=STREAMED)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert response.json()["error"]["message"] == "The model is down."


async def test_what_fails_after_the_first_event_is_told_as_one() -> None:
    sandbox = FakeSandbox({}, failure=SandboxUnavailableError("The sandbox is down."))
    async with served(tools(ScriptedModel(["answer=18"]), sandbox)) as client:
        response = await client.post("/v1/refine", json=STREAMED)
    assert response.status_code == 200
    *_, (name, fault), done = events(response.text)
    assert (name, done) == ("error", (None, "[DONE]"))
    assert fault["error"]["message"] == "The sandbox is down."
    assert fault["error"]["code"] == "sandbox_unavailable"


async def test_a_reader_that_leaves_cancels_what_is_drawn_for_it() -> None:
    script, sandbox = programs_that_come_to(18)
    quick, slow = ScriptedModel(script), ScriptedModel(script, delay_s=60)

    class _OneQuick(ScriptedModel):
        async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
            chosen = slow if draw else quick
            return await chosen.sample(prompt, sampling=sampling, draw=draw)

    with listening_on(tools(_OneQuick(script), sandbox)) as url:
        async with (
            httpx.AsyncClient(base_url=url, timeout=60) as client,
            client.stream("POST", "/v1/refine", json=STREAMED) as response,
        ):
            assert "event: candidate" in await anext(response.aiter_text())
        await until(lambda: slow.cancelled == 2)


async def streaming(request: Request, frames: AsyncGenerator[bytes, None]) -> Response:
    return await event_stream(request, frames, error_event="error", heartbeat_s=0.02)


async def test_silence_is_filled_with_heartbeats_even_before_the_first_event() -> None:
    app, spoken = FastAPI(), asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        await spoken.wait()
        yield b"data: 1\n\n"

    @app.get("/")
    async def route(request: Request) -> Response:
        return await streaming(request, frames())

    async with listening(app) as url, httpx.AsyncClient() as client:
        text = ""
        async with client.stream("GET", url) as response:
            async for chunk in response.aiter_text():
                text += chunk
                if text.count(": heartbeat\n\n") >= 3:
                    spoken.set()
    assert events(text) == [(None, 1), (None, "[DONE]")]


async def test_an_unexpected_failure_says_nothing_internal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()

    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        raise RuntimeError("the password is swordfish")

    @app.get("/")
    async def route(request: Request) -> Response:
        return await streaming(request, frames())

    async with listening(app) as url, httpx.AsyncClient() as client:
        text = (await client.get(url)).text
    assert "swordfish" not in text
    assert [name for name, _ in events(text)] == [None, "error", None]


async def test_a_reader_that_takes_nothing_holds_no_memory() -> None:
    app, made = FastAPI(), 0

    async def frames() -> AsyncGenerator[bytes, None]:
        nonlocal made
        for _ in range(1000):
            made += 1
            yield b"data: " + b"x" * 1_000_000 + b"\n\n"

    @app.get("/")
    async def route(request: Request) -> Response:
        return await streaming(request, frames())

    async with listening(app) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as lazy:
            lazy.sendall(b"GET / HTTP/1.1\r\nHost: cap\r\n\r\n")
            await until(lambda: made > 1)
            seen = -1
            while seen != made:  # until the connection's buffers are full
                seen = made
                await asyncio.sleep(0.3)
            assert made < 100
