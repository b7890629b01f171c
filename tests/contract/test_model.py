"""What every `Model` promises, the fake and the replayed one included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from cap_server.adapters.recorded import RecordedModel, Recording
from cap_server.adapters.upstream import Upstream, model_client
from cap_server.adapters.vllm import VLLMModel
from cap_server.domain import Problem, Prompt, Sampling
from cap_server.errors import ModelResponseError
from cap_server.ports import Model
from cap_server.prompts import PROMPT_FORMATS, cot_prompt
from cap_server.testing import ScriptedModel
from tests.server.upstreams import completes, refuses, upstream

PROBLEM = Problem("What is 6 times 3?")
PROMPT = PROMPT_FORMATS["trained"].program_prompt(PROBLEM)


@pytest.fixture(params=["scripted", "recorded", "vllm"])
async def model(request: pytest.FixtureRequest) -> AsyncIterator[Model]:
    """A model that answers `answer=18` to everything."""
    async with AsyncExitStack() as stack:
        if request.param == "scripted":
            yield ScriptedModel(["answer=18"])
        elif request.param == "recorded":
            texts = {f"source{i}": "answer=18" for i in range(32)}
            recording = Recording(PROBLEM.question, "18", texts, texts)
            yield RecordedModel([recording], sources=list(texts))
        else:
            server = await stack.enter_async_context(upstream(completes("answer=18")))
            client = await stack.enter_async_context(model_client(connections=4, read_timeout_s=5))
            yield VLLMModel(Upstream(client, url=server.url, name="m"))


@pytest.mark.parametrize("prompt", [PROMPT, cot_prompt(PROBLEM)], ids=["program", "cot"])
async def test_a_sample_is_a_complete_text_with_its_cost(model: Model, prompt: Prompt) -> None:
    sample = await model.sample(prompt, sampling=Sampling(max_tokens=64), draw=0)
    assert (sample.text, sample.complete) == ("answer=18", True)
    assert sample.prompt_tokens >= 0
    assert sample.completion_tokens >= 0
    assert sample.model_s >= 0


async def test_many_draws_run_at_once(model: Model) -> None:
    sampling = Sampling(max_tokens=64)
    draws = [model.sample(PROMPT, sampling=sampling, draw=draw) for draw in range(32)]
    assert {sample.text for sample in await asyncio.gather(*draws)} == {"answer=18"}


async def test_a_draw_can_be_cancelled_and_the_next_one_works(model: Model) -> None:
    drawing = asyncio.ensure_future(model.sample(PROMPT, sampling=Sampling(), draw=0))
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert (await model.sample(PROMPT, sampling=Sampling(), draw=1)).text == "answer=18"


def test_a_model_has_a_name(model: Model) -> None:
    assert model.name


@pytest.mark.parametrize("kind", ["scripted", "recorded", "vllm"])
async def test_a_draw_that_cannot_be_had_is_an_error_of_ours(kind: str) -> None:
    failing: Model = ScriptedModel([ModelResponseError("no")])
    async with AsyncExitStack() as stack:
        if kind == "recorded":
            failing = RecordedModel([], sources=["a"])
        elif kind == "vllm":
            server = await stack.enter_async_context(upstream(refuses("500 Oops")))
            client = await stack.enter_async_context(model_client(connections=4, read_timeout_s=5))
            failing = VLLMModel(Upstream(client, url=server.url, name="m"))
        with pytest.raises(ModelResponseError):
            await failing.sample(PROMPT, sampling=Sampling(), draw=0)
