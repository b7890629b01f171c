"""Servers of models that fail, over real sockets: what is asked again, what is not, and of whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from cap_server.adapters.chat import UpstreamChat
from cap_server.adapters.circuit import Circuit
from cap_server.adapters.replicas import Replicas
from cap_server.adapters.upstream import Upstream, model_client
from cap_server.adapters.vllm import VLLMModel
from cap_server.deadline import ending_at
from cap_server.domain import Message, Problem, Prompt, Sampling
from cap_server.errors import ModelResponseError, ModelUnavailableError
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import served
from tests.server.scrapes import scraped
from tests.server.upstreams import Respond, answers, completes, hangs, refuses, upstream

PROMPT = Prompt("program", Problem("Q"), (Message("user", "Question: Q"),))
SAMPLING = Sampling(temperature=0.7, max_tokens=64, seed=5, logprobs=True)


class Clock:
    """Attributes: now: in seconds; a test moves it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def retry_after(seconds: int, status: str = "429 Slow down") -> Respond:
    return answers(status, "", headers=f"Retry-After: {seconds}\r\n")


@asynccontextmanager
async def model_on(
    *urls: str, clock: Clock | None = None, hedge: bool = True, total_timeout_s: float = 60
) -> AsyncIterator[tuple[VLLMModel, Upstream]]:
    replicas = Replicas(urls, clock=clock) if clock else Replicas(urls)
    async with model_client(connections=64, read_timeout_s=60) as client:
        asked = Upstream(
            client, url=replicas, name="m", hedge=hedge, total_timeout_s=total_timeout_s
        )
        yield VLLMModel(asked), asked


async def draw(model: VLLMModel) -> str:
    return (await model.sample(PROMPT, sampling=SAMPLING, draw=0)).text


async def nowhere() -> str:
    """The URL of a server that has gone."""
    async with upstream(completes("x")) as server:
        return server.url


@pytest.mark.parametrize(
    "refusal", [refuses("429 No"), retry_after(0), retry_after(1), retry_after(1, "503 Busy")]
)
async def test_a_busy_server_is_asked_again_when_it_says_so(refusal: Respond) -> None:
    async with upstream(refusal, completes("ok")) as server, model_on(server.url) as (model, _):
        assert await draw(model) == "ok"
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    "fault", [refuses("503 Busy"), refuses("500 Oops"), refuses("502 Bad"), retry_after(9)]
)
async def test_what_may_have_begun_or_takes_too_long_is_not_asked_again(fault: Respond) -> None:
    async with upstream(fault, completes("ok")) as server, model_on(server.url) as (model, _):
        with pytest.raises((ModelUnavailableError, ModelResponseError)):
            await draw(model)
    assert len(server.bodies) == 1


async def test_nobody_waits_for_a_server_beyond_the_requests_deadline() -> None:
    script = (retry_after(3), completes("ok"))
    async with upstream(*script) as server, model_on(server.url) as (model, _):
        deadline = asyncio.get_running_loop().time() + 2
        with ending_at(deadline), pytest.raises(ModelUnavailableError) as caught:
            await draw(model)
    assert caught.value.retry_after_s == 3
    assert len(server.bodies) == 1


async def test_an_endless_answer_ends_at_the_total_timeout() -> None:
    async def drips(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with (
        upstream(drips) as server,
        model_on(server.url, total_timeout_s=0.5) as (model, asked),
    ):
        with pytest.raises(ModelUnavailableError, match="in time"):
            await draw(model)
        with pytest.raises(ModelUnavailableError, match="in time"):
            async for _ in UpstreamChat(asked).stream({}):
                pass


async def test_log_probabilities_that_are_no_numbers_are_the_least_ones() -> None:
    body = """{"choices": [{"message": {"content": "x"}, "finish_reason": "stop", "logprobs":
        {"content": [{"token": "x", "logprob": NaN}, {"token": "y", "logprob": -Infinity}]}}]}"""
    async with upstream(answers("200 OK", body)) as server, model_on(server.url) as (model, _):
        sample = await model.sample(PROMPT, sampling=SAMPLING, draw=0)
    assert sample.log_likelihood == -100


async def test_a_burst_of_500s_opens_the_circuit_and_one_probe_closes_it() -> None:
    clock = Clock()
    failing = [refuses("500 Oops")] * 6
    async with (
        upstream(*failing, completes("ok")) as server,
        model_on(server.url, clock=clock) as (model, asked),
    ):
        for _ in range(5):
            with pytest.raises(ModelResponseError):
                await draw(model)
        with pytest.raises(ModelUnavailableError, match="left alone") as caught:
            await draw(model)
        assert caught.value.retry_after_s == 1
        assert len(server.bodies) == 5
        clock.now += 1
        assert asked.replicas.figures()[0].circuit == "half_open"
        with pytest.raises(ModelResponseError):  # the probe
            await draw(model)
        clock.now += 1.5  # it is open for two seconds now
        with pytest.raises(ModelUnavailableError, match="left alone"):
            await draw(model)
        clock.now += 1
        assert await draw(model) == "ok"
        assert asked.replicas.figures()[0].circuit == "closed"
    assert len(server.bodies) == 7


async def test_refusals_of_what_was_asked_leave_the_circuit_closed() -> None:
    async with (
        upstream(refuses("400 Bad", message="temperature")) as server,
        model_on(server.url) as (model, asked),
    ):
        for _ in range(8):
            with pytest.raises(ModelResponseError):
                await draw(model)
        assert asked.replicas.figures()[0].circuit == "closed"


def test_a_half_open_circuit_lets_one_request_pass_until_that_has_ended() -> None:
    clock = Clock()
    circuit = Circuit(clock=clock)
    for _ in range(5):
        assert circuit.admits()
        circuit.failed()
    assert not circuit.admits()
    clock.now += 1
    assert circuit.admits()
    circuit.enter()
    assert not circuit.admits()
    circuit.abandoned()
    assert circuit.admits()
    circuit.enter()
    circuit.succeeded()
    assert (circuit.state, circuit.admits()) == ("closed", True)


def test_a_circuit_is_open_for_longer_each_time_up_to_ten_seconds() -> None:
    clock = Clock()
    circuit = Circuit(clock=clock)
    for _ in range(5):
        circuit.failed()
    lengths = []
    for _ in range(7):
        lengths.append(circuit.opens_in_s())
        clock.now += circuit.opens_in_s()
        circuit.enter()
        circuit.failed()
    assert lengths == [1, 2, 4, 8, 10, 10, 10]


async def test_a_server_that_cannot_be_reached_is_passed_over() -> None:
    gone = await nowhere()
    async with (
        upstream(completes("ok")) as server,
        model_on(gone, server.url) as (model, asked),
    ):
        assert [await draw(model) for _ in range(12)] == ["ok"] * 12
        # Five refused connections, then nobody tried any more.
        assert [each.circuit for each in asked.replicas.figures()] == ["open", "closed"]


async def test_a_busy_server_sends_its_requests_to_another_at_once() -> None:
    async with (
        upstream(retry_after(9)) as busy,
        upstream(completes("ok")) as idle,
        model_on(busy.url, idle.url) as (model, _),
    ):
        assert [await draw(model) for _ in range(4)] == ["ok"] * 4
    assert len(busy.bodies) == 1  # it rests for the nine seconds that it asked for


async def test_the_server_with_the_least_under_way_is_asked() -> None:
    async with (
        upstream(hangs) as slow,
        upstream(completes("ok")) as quick,
        model_on(slow.url, quick.url) as (model, asked),
    ):
        hanging = asyncio.ensure_future(draw(model))
        async with asyncio.timeout(60):
            while not slow.bodies:  # noqa: ASYNC110  # the socket has no event
                await asyncio.sleep(0.01)
        assert [each.under_way for each in asked.replicas.figures()] == [1, 0]
        assert [await draw(model) for _ in range(3)] == ["ok"] * 3
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        assert [each.under_way for each in asked.replicas.figures()] == [0, 0]


async def test_a_draw_that_is_slow_is_asked_of_another_server_and_the_loser_ends() -> None:
    async with (
        upstream(*[completes("slow")] * 20, hangs) as slow,
        upstream(completes("quick")) as quick,
        model_on(slow.url, quick.url) as (model, asked),
    ):
        drawn = [await draw(model) for _ in range(40)]
        assert drawn.count("slow") == 20  # in turns; now both are known well enough
        async with asyncio.timeout(60):
            assert await draw(model) == "quick"
            await slow.gone.wait()
        assert [each.under_way for each in asked.replicas.figures()] == [0, 0]
    assert len(slow.bodies) == 21


@pytest.mark.parametrize("kind", ["switched off", "a chat"])
async def test_only_draws_are_hedged_and_only_if_that_is_not_switched_off(kind: str) -> None:
    off = kind == "switched off"
    async with (
        upstream(*[completes("slow")] * 20, hangs) as slow,
        upstream(completes("quick")) as quick,
        model_on(slow.url, quick.url, hedge=not off) as (model, asked),
    ):
        for _ in range(40):
            await draw(model)
        chat = UpstreamChat(asked).complete({})
        asking = asyncio.ensure_future(draw(model) if off else chat)
        if off:
            chat.close()
        async with asyncio.timeout(60):
            while len(slow.bodies) < 21:  # noqa: ASYNC110  # the socket has no event
                await asyncio.sleep(0.01)
        done, _ = await asyncio.wait([asking], timeout=0.5)
        assert not done
        assert len(quick.bodies) == 20
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_a_model_is_there_while_one_of_its_servers_is() -> None:
    lists, gone = answers("200 OK", '{"data": [{"id": "m"}]}'), await nowhere()
    async with upstream(lists) as server, model_on(gone, server.url) as (model, _):
        await model.check()
    async with model_on(await nowhere(), await nowhere()) as (model, _):
        with pytest.raises(ModelUnavailableError, match="cannot be reached"):
            await model.check()


async def test_readiness_and_metrics_tell_of_each_server_how_it_fares() -> None:
    replicas = Replicas(["http://a:1/v1", "http://user:secret@b:1/v1"])
    for _ in range(5):
        replicas.all[1].circuit.failed()
    given = replace(tools(ScriptedModel([""]), FakeSandbox({})), replicas={"cap": replicas.figures})
    async with served(given) as client:
        with replicas.all[0].visited():
            told, scrape = (await client.get("/ready")).json(), await scraped(client)
        assert told["replicas"] == [
            {"role": "cap", "number": 0, "circuit": "closed", "under_way": 1},
            {"role": "cap", "number": 1, "circuit": "open", "under_way": 0},
        ]
    states = [scrape("cap_model_circuit", role="cap", replica=each) for each in "01"]
    assert states == [0, 2]
    assert scrape("cap_model_requests_under_way", role="cap", replica="0") == 1
    assert "secret" not in scrape.text


async def test_a_model_whose_servers_all_fail_is_not_ready() -> None:
    lists = answers("200 OK", '{"data": [{"id": "m"}]}')
    async with upstream(lists) as server, model_on(server.url) as (model, asked):
        for _ in range(5):
            asked.replicas.all[0].circuit.failed()
        with pytest.raises(ModelUnavailableError, match="left alone"):
            await model.check()
