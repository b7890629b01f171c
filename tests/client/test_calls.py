"""Calls of both clients against the real app, and what they make of refusals and faults."""

from __future__ import annotations

import json

import httpx
import pytest
from pydantic import SecretStr

from cap_client import (
    AsyncClient,
    AuthenticationError,
    Client,
    DeadlineError,
    InvalidRequestError,
    NotCapServerError,
    RateLimitError,
    Retries,
    ServerError,
    StatusError,
    UnavailableError,
    UnreachableError,
    UpstreamError,
)
from cap_server.errors import SandboxUnavailableError
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.client.answers import REFINEMENT
from tests.client.calling import Kind, called, refuses, sends
from tests.ports import free_port
from tests.server.benches import tools
from tests.server.conftest import listening_on
from tests.server.upstreams import hangs, upstream

pytestmark = pytest.mark.parametrize("kind", ["sync", "async"])

QUESTION = "What is 6 times 3?"


async def test_a_refinement_is_typed_from_end_to_end(kind: Kind) -> None:
    model = ScriptedModel(["answer=18"])
    with listening_on(tools(model, FakeSandbox({"answer=18": 18}))) as url:
        refinement = await called(
            kind,
            url,
            lambda client: client.refine(
                QUESTION,
                cot="The answer is 26.",
                source="somebody",
                choices=None,
                strategy={"name": "majority", "programs": 2},
                sampling={"seed": 7},
                budget={"deadline_s": 20},
                limits={"wall_s": 1},
                include=["candidates", "trace"],
            ),
        )
    assert (refinement.decision, refinement.answer) == ("corrected", "18")
    assert (refinement.strategy.name, refinement.strategy.programs) == ("majority", 2)
    assert refinement.execution.value.text == "18"
    assert [each.kind for each in refinement.candidates] == ["program", "program"]
    assert refinement.trace[-1].weights
    assert model.prompts[0].problem.prior.source == "somebody"


async def test_programs_strategies_sources_and_readiness(kind: Kind) -> None:
    with listening_on(tools(ScriptedModel([""]), FakeSandbox({"answer=18": 18}))) as url:
        ran = await called(kind, url, lambda client: client.execute("answer=18"))
        limited = await called(kind, url, lambda c: c.execute("answer=1", limits={"wall_s": 0.5}))
        strategies = await called(kind, url, lambda client: client.strategies())
        sources = await called(kind, url, lambda client: client.sources())
        ready = await called(kind, url, lambda client: client.ready())
    assert (ran.status, ran.value.type, limited.status) == ("ok", "int", "error")
    assert strategies.default in {each.name for each in strategies.data}
    assert 0 < sources.model.reliability < 1
    assert (ready.ready, ready.checks["sandbox"].detail) == (True, "fake")


async def test_a_server_that_is_not_ready_says_why_at_once(kind: Kind) -> None:
    failing = FakeSandbox({}, failure=SandboxUnavailableError("down"))
    with listening_on(tools(ScriptedModel([""]), failing)) as url:
        ready = await called(kind, url, lambda client: client.ready())
    assert not ready.ready
    assert not ready.checks["sandbox"].ready


async def test_a_refusal_carries_what_the_server_said(kind: Kind) -> None:
    with (
        listening_on(tools(ScriptedModel([""]), FakeSandbox({}))) as url,
        pytest.raises(InvalidRequestError) as caught,
    ):
        await called(kind, url, lambda client: client.refine(QUESTION, strategy="wisdom"))
    error = caught.value
    assert (error.status, error.code, error.param) == (422, "invalid_value", "strategy")
    assert "must be one of adaptive" in error.message
    assert error.request_id
    assert error.retry_after_s is None


async def test_the_key_is_sent_and_a_wrong_one_is_told(kind: Kind) -> None:
    settings = Settings(api_keys=SecretStr("right"))
    with listening_on(tools(ScriptedModel([""]), FakeSandbox({})), settings) as url:
        assert await called(kind, url, lambda client: client.sources(), api_key="right")
        with pytest.raises(AuthenticationError) as caught:
            await called(kind, url, lambda client: client.sources(), api_key="wrong")
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind_of_error"),
    [
        ("400 Bad Request", InvalidRequestError),
        ("403 Forbidden", AuthenticationError),
        ("429 Too Many Requests", RateLimitError),
        ("500 Internal Server Error", ServerError),
        ("502 Bad Gateway", UpstreamError),
        ("503 Service Unavailable", UnavailableError),
        ("504 Gateway Timeout", DeadlineError),
    ],
)
async def test_every_status_has_its_kind(
    kind: Kind, status: str, kind_of_error: type[StatusError]
) -> None:
    async with upstream(refuses(status, headers="Retry-After: 3\r\n")) as seen:
        once = {"retries": Retries(tries=1)}
        with pytest.raises(kind_of_error) as caught:
            await called(kind, _root(seen.url), lambda client: client.refine("?"), **once)
    assert type(caught.value) is kind_of_error
    assert (caught.value.status, caught.value.retry_after_s) == (int(status[:3]), 3.0)


async def test_an_overloaded_server_is_asked_again(kind: Kind) -> None:
    busy = refuses("429 Too Many Requests", headers="Retry-After: 0\r\n")
    down = refuses("503 Service Unavailable")
    async with upstream(busy, down, sends(_refinement())) as seen:
        refinement = await called(kind, _root(seen.url), lambda client: client.refine("?"))
    assert refinement.answer == "18"
    assert seen.bodies == [{"question": "?"}] * 3


async def test_no_request_is_paid_twice_when_its_answer_is_lost(kind: Kind) -> None:
    async with upstream(sends("{", short_of=99), sends(_refinement())) as seen:
        with pytest.raises(UnreachableError) as caught:
            await called(kind, _root(seen.url), lambda client: client.refine("?"))
    assert (caught.value.sent, len(seen.bodies)) == (True, 1)


async def test_a_read_whose_answer_is_lost_is_repeated(kind: Kind) -> None:
    whole = '{"default": "adaptive", "data": []}'
    async with upstream(sends("{", short_of=99), sends(whole)) as seen:
        strategies = await called(kind, _root(seen.url), lambda client: client.strategies())
    assert (strategies.default, len(seen.headers)) == ("adaptive", 2)


async def test_a_server_that_cannot_be_reached_is_tried_again(kind: Kind) -> None:
    tried: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        tried.append(request.url.path)
        if len(tried) < 3:
            raise httpx.ConnectError("nobody there")
        return httpx.Response(200, content=_refinement())

    transport = httpx.MockTransport(answer)
    http = httpx.Client(transport=transport)
    if kind == "async":
        http = httpx.AsyncClient(transport=transport)  # type: ignore[assignment]
    refinement = await called(kind, "http://cap", lambda client: client.refine("?"), http=http)
    assert refinement.answer == "18"
    assert tried == ["/v1/refine"] * 3


async def test_an_absent_server_is_told(kind: Kind) -> None:
    with pytest.raises(UnreachableError) as caught:
        await called(kind, f"http://127.0.0.1:{free_port()}", lambda client: client.refine("?"))
    assert not caught.value.sent


async def test_a_silent_server_is_given_up(kind: Kind) -> None:
    async with upstream(hangs) as seen:
        with pytest.raises(UnreachableError) as caught:
            await called(
                kind,
                _root(seen.url),
                lambda client: client.refine("?", budget={"deadline_s": 0.1}),
                timeout_s=0.1,
            )
    assert caught.value.sent


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("200 OK", "hello"),
        ("200 OK", "{}"),
        ("404 Not Found", "<html>"),
        ("502 Bad", '{"error": 1}'),
    ],
)
async def test_a_server_that_is_not_ours_is_told_apart(kind: Kind, status: str, body: str) -> None:
    async with upstream(sends(body, status=status)) as seen:
        with pytest.raises(NotCapServerError, match=status[:3]):
            await called(kind, _root(seen.url), lambda client: client.refine("?"))


async def test_the_environment_says_where_the_server_is(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upstream(sends(_refinement())) as seen:
        monkeypatch.setenv("CAP_BASE_URL", f"{_root(seen.url)}/v1/")
        monkeypatch.setenv("CAP_API_KEY", "from-the-environment")
        await called(kind, "", lambda client: client.refine("?"))
    head = seen.headers[0].decode().lower()
    assert "authorization: bearer from-the-environment\r\n" in head
    assert head.startswith("post /v1/refine ")


def test_what_cannot_be_right_is_refused_before_anything_is_sent(kind: Kind) -> None:
    client = Client if kind == "sync" else AsyncClient
    with pytest.raises(ValueError, match="http://"):
        client("ftp://host")
    with pytest.raises(ValueError, match="API key"):
        client(api_key="two\r\nlines")
    with pytest.raises(ValueError, match="timeout_s"):
        client(timeout_s=0)
    with pytest.raises(TypeError, match="'stratgy'"):
        client().refine_stream("?", stratgy="single")  # type: ignore[call-arg]
    assert "secret" not in repr(client(api_key="secret")._of)


def _root(url: str) -> str:
    return url.removesuffix("/v1")


def _refinement() -> str:
    return json.dumps(REFINEMENT)
