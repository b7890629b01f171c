"""`GET /metrics` tells what happened, when it has ended, under names and labels that stay few."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from cap_sandbox import Pool
from cap_server.adapters.local_sandbox import LocalSandbox
from cap_server.domain import Execution, Sample, Value
from cap_server.errors import ModelUnavailableError, SandboxUnavailableError
from cap_server.observing import NO_TRACES, Metrics, ObservedRequests
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedChat, ScriptedModel
from tests.server.benches import tools, until
from tests.server.conftest import listening_on, served
from tests.server.scrapes import Scrape, scraped

WRONG = {"question": "What is 6 times 3?", "cot": "6 * 3 = 26. The answer is 26."}


def _majority(programs: int, **more: object) -> dict[str, Any]:
    return {**WRONG, "strategy": {"name": "majority", "programs": programs}, **more}


async def test_a_refinement_is_counted_with_its_draws_tokens_and_programs() -> None:
    sample = Sample("answer=18", prompt_tokens=20, completion_tokens=5)
    ran = Execution("ok", Value("int", "18"), wall_s=0.002)
    given = tools(ScriptedModel([sample]), FakeSandbox({"answer=18": ran}))
    with listening_on(given) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            body = (await client.post("/v1/refine", json=_majority(3))).json()
            told = await scraped(client)
    assert body["decision"] == "corrected"
    labels = {"strategy": "majority", "decision": "corrected", "stopped_by": "nothing"}
    assert told("cap_refinements_total", **labels) == 1
    assert told("cap_refinement_programs_sum", strategy="majority") == body["usage"]["programs"]
    outcomes = ("finished", "failed", "cancelled")
    usage = [told("cap_draws_total", role="cap", outcome=outcome) for outcome in outcomes]
    assert usage == [body["usage"][outcome] for outcome in outcomes]
    assert told("cap_draws_started_total", role="cap") == body["usage"]["programs"]
    assert told("cap_tokens_total", role="cap", kind="prompt") == body["usage"]["prompt_tokens"]
    assert told("cap_tokens_total", role="cap", kind="completion") >= 5
    assert told("cap_executions_total", status="ok") == body["usage"]["executions"] == 1
    assert told("cap_execution_seconds_bucket", le="0.002") == 1
    assert told("cap_requests_total", route="/v1/refine", method="POST", status="200") == 1
    assert told("cap_request_seconds_count", route="/v1/refine") == 1
    assert told("cap_requests_in_flight") == 0


async def test_failures_are_counted_by_their_code() -> None:
    model = ScriptedModel([ModelUnavailableError("down")])
    async with served(tools(model, FakeSandbox({}))) as client:
        assert (await client.post("/v1/refine", json=_majority(2))).status_code == 503
        assert (await client.post("/v1/refine", json={})).status_code == 422
        told = await scraped(client)
    assert told("cap_model_errors_total", role="cap", code="model_unavailable") == 2
    assert told("cap_draws_total", role="cap", outcome="failed") == 2
    assert told("cap_request_errors_total", code="model_unavailable") == 1
    assert told("cap_request_errors_total", code="invalid_value") == 1
    assert told("cap_requests_total", route="/v1/refine", method="POST", status="503") == 1


async def test_a_sandbox_that_fails_is_counted_apart_from_programs_that_do() -> None:
    sandbox = FakeSandbox({}, failure=SandboxUnavailableError("no"))
    async with served(tools(ScriptedModel([""]), sandbox)) as client:
        assert (await client.post("/v1/execute", json={"program": "x"})).status_code == 503
        told = await scraped(client)
    assert told("cap_executions_total", status="unavailable") == 1
    assert told("cap_execution_seconds_count") == 0


async def test_a_client_that_leaves_is_counted_as_one_and_its_draws_as_cancelled() -> None:
    model = ScriptedModel(["answer=1"], delay_s=60)
    with listening_on(tools(model, FakeSandbox({}))) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            asking = asyncio.ensure_future(client.post("/v1/refine", json=_majority(4)))
            await until(lambda: len(model.prompts) == 4)
            assert (await scraped(client))("cap_draws_in_flight", role="cap") == 4
            assert (await scraped(client))("cap_requests_in_flight") == 1
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await until(lambda: model.cancelled == 4)
            told = await scraped(client)
            while told("cap_requests_in_flight"):
                told = await scraped(client)
    assert told("cap_draws_total", role="cap", outcome="cancelled") == 4
    assert told("cap_draws_in_flight", role="cap") == 0
    assert told("cap_requests_total", route="/v1/refine", method="POST", status="499") == 1
    assert told("cap_request_errors_total", code="client_closed_request") == 1


async def test_a_stream_counts_when_it_ends() -> None:
    metrics, go_on = Metrics(CollectorRegistry()), asyncio.Event()
    counted: list[float] = []

    def count() -> float:
        labels = {"route": "/stream", "method": "GET", "status": "200"}
        return metrics.registry.get_sample_value("cap_requests_total", labels) or 0

    async def lines() -> AsyncIterator[str]:
        counted.append(count())
        yield "first\n"
        await go_on.wait()
        counted.append(count())
        yield "last\n"

    app = FastAPI()
    app.get("/stream")(lambda: StreamingResponse(lines()))
    app.add_middleware(ObservedRequests, metrics=metrics, traces=NO_TRACES)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        getting = asyncio.ensure_future(client.get("/stream"))
        await until(lambda: counted)
        go_on.set()
        assert (await getting).text == "first\nlast\n"
    assert counted == [0, 0]
    assert count() == 1


async def test_no_label_is_a_clients_choice() -> None:
    async with served(tools(ScriptedModel([""]), FakeSandbox({}))) as client:
        for path in ("/nope", "/v1/refine/../secret", "/%00"):
            await client.get(path)
        await client.request("BREW", "/v1/refine")
        told = await scraped(client)
    assert told.labels("cap_requests_total", "method") <= {"GET", "other"}
    assert told.labels("cap_requests_total", "route") <= {"other", "/v1/refine", "/metrics"}


async def test_what_operators_ask_does_not_count_as_work() -> None:
    seen: list[float | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(metrics.registry.get_sample_value("cap_requests_in_flight"))

    async def receive() -> dict[str, Any]:
        raise AssertionError

    async def send(message: object) -> None:
        raise AssertionError

    metrics = Metrics(CollectorRegistry())
    observed = ObservedRequests(app, metrics=metrics, traces=NO_TRACES)
    for path in ("/health", "/v1/refine"):
        scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        await observed(scope, receive, send)
    assert seen == [0, 1]


async def test_the_pool_tells_its_queue_its_processes_and_its_tier() -> None:
    async with Pool(workers=1, memory_bytes=700 * 1024**2) as pool:
        given = tools(ScriptedModel([""]), LocalSandbox(pool))
        async with served(given) as client:
            for _ in range(2):
                await client.post("/v1/execute", json={"program": "answer = 1"})
            told = await scraped(client)
        assert told("cap_sandbox_tier", tier=pool.tier) == 1
    assert told("cap_sandbox_programs_total", status="ok") == 2
    assert told("cap_sandbox_workers") == 1
    assert told("cap_sandbox_waiting") == told("cap_sandbox_running") == 0
    assert told("cap_sandbox_spawns_total") >= 2
    assert told("cap_sandbox_spawn_seconds_total") > 0


async def test_two_servers_in_one_process_count_apart() -> None:
    given = tools(ScriptedModel([""]), FakeSandbox({"x": 1}))
    async with served(given) as one, served(given) as other:
        await one.post("/v1/execute", json={"program": "x"})
        assert (await scraped(one))("cap_executions_total", status="ok") == 1
        assert (await scraped(other))("cap_executions_total", status="ok") == 0


async def test_metrics_need_no_key_and_hold_no_text() -> None:
    settings = Settings.model_validate({"api_keys": "sesame"})
    sandbox = FakeSandbox({"answer=18": 18})
    async with served(tools(ScriptedModel(["answer=18"]), sandbox), settings) as client:
        headers = {"Authorization": "Bearer sesame"}
        await client.post("/v1/refine", json=_majority(1, source="some-model"), headers=headers)
        told = await scraped(client)
    assert told("cap_executions_total", status="ok") == 1
    assert not any(word in told.text for word in ("sesame", "some-model", "6 times 3"))


async def test_prometheus_own_linter_finds_nothing() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: install Debian's prometheus")
    async with (
        Pool(workers=1) as pool,
        served(tools(ScriptedModel(["answer=18"]), LocalSandbox(pool))) as client,
    ):
        await client.post("/v1/refine", json=_majority(2))
        told = await scraped(client)
    linter = await asyncio.create_subprocess_exec(
        "promtool", "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    _, complaints = await linter.communicate(told.text.encode())
    assert linter.returncode == 0, complaints


def _refined(told: Scrape) -> float:
    return told("cap_requests_total", route="/v1/refine", method="POST", status="200")


async def test_a_streamed_refinement_counts_like_any_other() -> None:
    given = tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))
    with listening_on(given) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            response = await client.post("/v1/refine", json=_majority(2, stream=True))
            # The last byte is read before the server has counted it.
            async with asyncio.timeout(30):
                while not _refined(told := await scraped(client)):  # noqa: ASYNC110  # no event
                    await asyncio.sleep(0.01)
    assert response.text.endswith("data: [DONE]\n\n")
    assert _refined(told) == 1
    labels = {"strategy": "majority", "decision": "corrected", "stopped_by": "nothing"}
    assert told("cap_refinements_total", **labels) == 1


async def test_chats_are_counted_whole_and_streamed() -> None:
    chat = ScriptedChat(["The answer is 18."], name="writer")
    given = tools(ScriptedModel([""]), FakeSandbox({}), chats=[chat])
    body = {"model": "writer", "messages": [{"role": "user", "content": "Hi"}]}
    async with served(given) as client:
        for stream in (False, True):
            sent = {**body, "stream": stream}
            assert (await client.post("/v1/chat/completions", json=sent)).status_code == 200
        told = await scraped(client)
    assert told("cap_draws_total", role="chat", outcome="finished") == 2
    assert told("cap_model_seconds_count", role="chat") == 2
    assert told("cap_draws_in_flight", role="chat") == 0


async def test_callers_who_are_turned_away_are_counted() -> None:
    settings = Settings.model_validate({"api_keys": "sesame"})
    async with served(tools(ScriptedModel([""]), FakeSandbox({})), settings) as client:
        assert (await client.post("/v1/refine", json=WRONG)).status_code == 401
        told = await scraped(client)
    assert told("cap_request_errors_total", code="invalid_api_key") == 1
    assert told("cap_requests_total", route="other", method="POST", status="401") == 1
    assert "_created" not in told.text
