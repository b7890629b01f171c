"""The real server over recorded answers: on loopback, with its real sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import httpx
import uvicorn

from cap_sandbox import Pool
from cap_server.adapters.local_sandbox import LocalSandbox
from cap_server.adapters.math_verify import MathVerify
from cap_server.adapters.recorded import RecordedModel, Recording
from cap_server.app import create_app
from cap_server.domain import Answer
from cap_server.prompts import PROMPT_FORMATS
from cap_server.settings import Settings
from cap_server.tools import Tools


@asynccontextmanager
async def server(model: RecordedModel) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server whose model is `model`; it learns trust from nothing."""
    settings = Settings()
    async with Pool(workers=settings.sandbox_workers) as pool, MathVerify() as equality:
        tools = Tools(
            model=model,
            prompt_format=PROMPT_FORMATS["trained"],
            sandbox=LocalSandbox(pool),
            equality=equality,
        )
        app = create_app(settings, tools=nullcontext(tools))
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
            serving = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
            task = asyncio.ensure_future(serving.serve(sockets=[listener]))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with httpx.AsyncClient(base_url=url, timeout=120) as client:
                yield client
            serving.should_exit = True
            await task


async def refined(
    client: httpx.AsyncClient, recording: Recording, *, cot: str | None, strategy: dict[str, Any]
) -> dict[str, Any]:
    """The refinement of the CoT that the source `cot` wrote, or of none.

    Ends the benchmark where it fails.
    """
    body = {"question": recording.question, "strategy": strategy}
    if cot is not None:
        body |= {"cot": recording.cots[cot], "source": cot}
    response = await client.post("/v1/refine", json=body)
    if response.status_code != httpx.codes.OK:
        sys.exit(f"{response.status_code}: {response.text}")
    refinement: dict[str, Any] = response.json()
    return refinement


async def is_right(answer: str | None, recording: Recording, equality: MathVerify) -> bool:
    return answer is not None and await equality.same(Answer(answer), Answer(recording.answer))
