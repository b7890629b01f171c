"""A client that leaves ends its request: what it asked for would be paid for nothing."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools, until
from tests.server.conftest import listening_on


async def test_a_client_that_leaves_cancels_its_draws_and_the_server_goes_on() -> None:
    model = ScriptedModel(["answer=1"], delay_s=30)
    body = {"question": "?", "strategy": {"name": "majority", "programs": 8}}
    with listening_on(tools(model, FakeSandbox({}))) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            asking = asyncio.ensure_future(client.post("/v1/refine", json=body, timeout=60))
            await until(lambda: len(model.prompts) == 8)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await until(lambda: model.cancelled == 8)
            assert (await client.get("/health")).status_code == 200
