"""The batch route, until the server has it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from cap_server.api.terms import TermsIn
from cap_server.app import create_app
from cap_server.settings import Settings
from cap_server.tools import Tools


class BatchIn(TermsIn):
    problems: list[dict[str, Any]]


@contextmanager
def listening_on(given: Tools, settings: Settings | None = None) -> Iterator[str]:
    app = create_app(settings or Settings(), tools=nullcontext(given))
    add_batch_route(app)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serve = server.serve(sockets=[listener])
        thread = threading.Thread(target=lambda: asyncio.run(serve))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def add_batch_route(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app)
    client = httpx.AsyncClient(transport=transport, base_url="http://cap")

    async def batch(body: BatchIn) -> StreamingResponse:
        shared = body.model_dump(mode="json", exclude_unset=True)
        problems = shared.pop("problems")
        return StreamingResponse(
            _lines(client, problems, shared), media_type="application/x-ndjson"
        )

    app.post("/v1/refine/batch", response_model=None)(batch)


async def _lines(
    client: httpx.AsyncClient, problems: list[dict[str, Any]], shared: dict[str, Any]
) -> AsyncIterator[str]:
    async def one(index: int, problem: dict[str, Any]) -> dict[str, Any]:
        custom_id = problem.pop("custom_id", None)
        answer = await client.post("/v1/refine", json={**problem, **shared})
        ok = answer.status_code == 200
        return {
            "object": "refinement.batch.item",
            "index": index,
            "custom_id": custom_id,
            "status": answer.status_code,
            "refinement": answer.json() if ok else None,
            "error": None if ok else answer.json()["error"],
        }

    failed = 0
    for coming in asyncio.as_completed([one(i, each) for i, each in enumerate(problems)]):
        item = await coming
        failed += item["refinement"] is None
        yield json.dumps(item) + "\n"
    whole = {"object": "refinement.batch", "id": "batch_1", "problems": len(problems)}
    yield json.dumps({**whole, "failed": failed, "usage": {"programs": len(problems)}}) + "\n"
