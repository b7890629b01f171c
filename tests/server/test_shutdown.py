"""A server that is told to end: it says so, ends what is under way, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.processes import alive
from tests.server.benches import until
from tests.server.upstreams import Upstream, completes, upstream
from tests.servers import Serving, serving

WRONG: dict[str, object] = {"question": "6 * 3?", "cot": "The answer is 26."}
REFINE: dict[str, object] = {**WRONG, "strategy": "single"}
ROUTES: tuple[tuple[str, dict[str, object]], ...] = (
    ("/v1/refine", REFINE),
    ("/v1/refine", {**REFINE, "stream": True}),
    ("/v1/refine/batch", {"problems": [WRONG], "strategy": "single"}),
)


@asynccontextmanager
async def busy(
    folder: Path, release: asyncio.Event, **variables: str
) -> AsyncIterator[tuple[Serving, list[asyncio.Task[httpx.Response]], httpx.AsyncClient]]:
    """A server with one request of each kind under way, whose model answers on `release`."""

    async def responds(writer: asyncio.StreamWriter) -> None:
        if model.headers[-1].startswith(b"POST"):
            await release.wait()
        await completes("answer = 6 * 3")(writer)

    async with upstream(responds) as model:
        server = serving(folder, model.url, **variables)
        running = await asyncio.to_thread(server.__enter__)
        try:
            async with httpx.AsyncClient(base_url=running.url, timeout=100) as client:
                asking = [
                    asyncio.create_task(client.post(route, json=body)) for route, body in ROUTES
                ]
                await until(lambda: _drawn(model) == len(ROUTES))
                yield running, asking, client
        finally:
            release.set()
            await asyncio.to_thread(server.__exit__, None, None, None)


async def test_what_is_under_way_comes_to_its_end_while_ready_says_no(tmp_path: Path) -> None:
    release = asyncio.Event()
    async with busy(tmp_path, release, CAP_LEAVE_S="2", CAP_DRAIN_S="60") as (
        server,
        asking,
        client,
    ):
        server.process.send_signal(signal.SIGTERM)
        ready = await told(client)
        assert ready.status_code == 503
        assert ready.json()["checks"] == {"server": {"ready": False, "detail": "The server ends."}}
        release.set()
        refined, streamed, batch = await asyncio.gather(*asking)
        assert refined.json()["answer"] == "18"
        assert streamed.text.endswith("data: [DONE]\n\n")
        assert json.loads(batch.text.splitlines()[-1])["failed"] == 0
        assert await asyncio.to_thread(server.process.wait, 60) == 0
        assert len(server.started) >= 2
        assert alive(server.started, within_s=30) == set()
        assert "Traceback" not in server.said()


@pytest.mark.skipif(
    os.environ.get("CAP_TEST_CHAOS") != "1", reason="`make chaos` runs this: one more start"
)
async def test_a_second_signal_cuts_off_and_says_so(tmp_path: Path) -> None:
    async with busy(tmp_path, asyncio.Event(), CAP_LEAVE_S="600", CAP_DRAIN_S="600") as (
        server,
        asking,
        client,
    ):
        server.process.send_signal(signal.SIGTERM)
        await told(client)  # two at once would be one, to the kernel
        server.process.send_signal(signal.SIGTERM)
        refined, streamed, batch = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(refined, httpx.Response)
        assert refined.status_code == 503
        assert refined.json()["error"]["code"] == "server_ends"
        assert refined.headers["retry-after"] == "1"
        assert isinstance(streamed, httpx.Response)
        assert streamed.status_code == 503
        assert isinstance(batch, httpx.RemoteProtocolError), "a batch without its last line"
        assert await asyncio.to_thread(server.process.wait, 60) == 0
        assert alive(server.started, within_s=30) == set()
        assert "Traceback" not in server.said()


async def told(client: httpx.AsyncClient) -> httpx.Response:
    """What `/ready` says once the signal is heard."""
    while "model" in (ready := await client.get("/ready")).json()["checks"]:
        continue
    return ready


def _drawn(model: Upstream) -> int:
    return len(model.bodies)
