"""What those are told who still wait when a server that ends waits no longer."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import httpx

from cap_server.app import create_app
from cap_server.domain import Prompt, Sample, Sampling
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools, until
from tests.server.conftest import listening
from tests.server.test_streaming import STREAMED, events


class OneQuick(ScriptedModel):
    """Its first draw is there at once; the others take their time."""

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        if draw:
            await asyncio.sleep(60)
        return await super().sample(prompt, sampling=sampling, draw=draw)


async def test_who_still_waits_is_told_that_the_server_ends() -> None:
    model = ScriptedModel(["answer=1"], delay_s=60)
    app = create_app(Settings(), tools=nullcontext(tools(model, FakeSandbox({}))))
    async with listening(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        asking = asyncio.ensure_future(client.post("/v1/refine", json={"question": "?"}))
        await until(lambda: model.prompts)
        app.state.ending.cut_off()
        answer = await asking
        await until(lambda: model.cancelled == len(model.prompts))
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "server_ends"
    assert answer.headers["retry-after"] == "1"


async def test_a_stream_that_has_begun_ends_with_the_reason() -> None:
    given = tools(OneQuick(["answer=1"]), FakeSandbox({}))
    app = create_app(Settings(), tools=nullcontext(given))
    async with (
        listening(app) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
        client.stream("POST", "/v1/refine", json=STREAMED) as response,
    ):
        coming = response.aiter_text()
        text = await anext(coming)
        app.state.ending.cut_off()
        text += "".join([chunk async for chunk in coming])
    *_, (name, fault), done = events(text)
    assert (name, done) == ("error", (None, "[DONE]"))
    assert fault["error"]["code"] == "server_ends"
