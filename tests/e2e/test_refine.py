"""Refinements from end to end: the real vLLM with the small model, and the real sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from cap_server.app import create_app
from cap_server.example import EXAMPLE
from cap_server.settings import Settings

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

PROBLEM = {"question": EXAMPLE.question, "cot": EXAMPLE.cot, "sampling": {"seed": 1}}


@asynccontextmanager
async def server(engine_url: str, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings.model_validate({"model_url": engine_url, **settings}))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=120) as client,
    ):
        yield client


@pytest.mark.parametrize("strategy", ["single", "majority"])
async def test_a_wrong_answer_is_corrected_with_a_program_that_proves_it(
    engine_url: str, strategy: str
) -> None:
    async with server(engine_url) as client:
        body = {**PROBLEM, "strategy": strategy, "include": ["candidates"]}
        refinement = (await client.post("/v1/refine", json=body)).json()
        again = await client.post("/v1/execute", json={"program": refinement["program"]})
    assert (refinement["decision"], refinement["answer"]) == ("corrected", EXAMPLE.answer)
    assert again.json()["value"] == refinement["execution"]["value"]
    usage = refinement["usage"]
    drawn = refinement["candidates"]
    assert usage["programs"] == (1 if strategy == "single" else 8)
    assert usage["programs"] == usage["finished"] + usage["cancelled"]
    assert usage["finished"] == len(drawn)
    assert usage["completion_tokens"] == sum(each["completion_tokens"] for each in drawn) > 0
    assert usage["prompt_tokens"] == sum(each["prompt_tokens"] for each in drawn) > 0


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "adaptive"},
        {"name": "agreement"},
        {"name": "iterate", "revisions": 1},
        {"name": "prove", "cots": 2},
        {"name": "bonbon", "cots": 2, "programs": 2, "critic_required": True},
        {"name": "best_of_n", "programs": 4, "critic": "generative", "critic_required": True},
        {"name": "best_of_n", "programs": 4, "critic": "likelihood", "critic_required": True},
        {"name": "best_of_n", "programs": 4, "critic": "contrastive", "critic_required": True},
        {"name": "majority", "programs": 4, "weights": "likelihood", "critic_required": True},
    ],
    ids=lambda strategy: "-".join(str(each) for each in strategy.values()),
)
async def test_every_strategy_and_critic_works_on_the_real_engine(
    engine_url: str, strategy: dict[str, object]
) -> None:
    async with server(engine_url, cot_model="cap-small") as client:
        body = {**PROBLEM, "strategy": strategy, "include": ["candidates", "trace"]}
        response = await client.post("/v1/refine", json=body)
    assert response.status_code == 200, response.text
    refinement = response.json()
    assert refinement["warnings"] == []
    assert refinement["trace"]
    usage = refinement["usage"]
    assert usage["finished"] + usage["cancelled"] == usage["cots"] + usage["programs"] > 0
    scores = [each["score"] for each in refinement["candidates"] if each["score"] is not None]
    assert all(0 <= score <= 1 for score in scores)
    if "critic" in strategy:
        assert scores


async def test_pot_draws_the_same_programs_whether_or_not_there_is_a_cot(engine_url: str) -> None:
    async with server(engine_url) as client:
        body = {**PROBLEM, "strategy": "pot", "include": ["candidates"]}
        given = (await client.post("/v1/refine", json=body)).json()
        del body["cot"]
        alone = (await client.post("/v1/refine", json=body)).json()
    assert _texts(given).items() & _texts(alone).items()
    assert all(_texts(given)[i] == _texts(alone)[i] for i in _texts(given).keys() & _texts(alone))
    assert (given["original_answer"], alone["decision"]) == ("50", "answered")


async def test_a_right_answer_is_confirmed(engine_url: str) -> None:
    async with server(engine_url) as client:
        right = "25 * 6 = 150. 150 - 110 = 40. The answer is 40."
        body = {**PROBLEM, "cot": right, "strategy": "majority"}
        refinement = (await client.post("/v1/refine", json=body)).json()
    assert (refinement["decision"], refinement["answer"]) == ("confirmed", "40")


async def test_a_question_without_a_cot_is_answered(engine_url: str) -> None:
    async with server(engine_url) as client:
        body = {"question": EXAMPLE.question, "sampling": {"seed": 1}}
        refinement = (await client.post("/v1/refine", json=body)).json()
    assert (refinement["decision"], refinement["original_answer"]) == ("answered", None)


async def test_a_disagreement_among_programs_keeps_the_prior_with_low_confidence(
    engine_url: str,
) -> None:
    body = {
        "question": "A train leaves Utrecht at 9:40 with 214 people. At each of 3 stops a quarter "
        "of them leave and 18 get on. How many arrive?",
        "cot": "214 people leave, and 3 * 18 = 54 get on. The answer is 131.",
        "sampling": {"seed": 3, "temperature": 1.3},
        "strategy": "majority",
        "include": ["candidates"],
    }
    async with server(engine_url) as client:
        refinement = (await client.post("/v1/refine", json=body)).json()
    assert len({each["answer"] for each in refinement["candidates"]}) > 1
    assert (refinement["decision"], refinement["answer"]) == ("kept", "131")
    assert refinement["confidence"] <= 0.3


async def test_a_seed_repeats_a_request_exactly(engine_url: str) -> None:
    async with server(engine_url) as client:
        sampling = {"seed": 42, "temperature": 2}  # cooler, the small model is sure of itself
        include, strategy = ["candidates"], {"name": "pot", "overrule": 0}
        body = {**PROBLEM, "include": include, "sampling": sampling, "strategy": strategy}
        both = [(await client.post("/v1/refine", json=body)).json() for _ in range(2)]
    one, two = (_texts(refinement) for refinement in both)
    # What was still being written when the vote was settled may differ; what was weighed may not.
    assert all(one[i] == two[i] for i in one.keys() & two)
    assert len(set(one.values())) > 1
    assert [each["decision"] for each in both] == [both[0]["decision"]] * 2
    assert both[0]["confidence"] == both[1]["confidence"]


async def test_the_deadline_ends_the_generations_in_vllm(engine_url: str) -> None:
    async with server(engine_url) as client:
        body = {
            "question": "Count to a very large number. " * 20,
            "cot": "The answer is 1.",
            "sampling": {"max_tokens": 800, "temperature": 2, "top_p": 1},
            "strategy": {"name": "majority", "programs": 64},
            "budget": {"deadline_s": 0.3},
        }
        refinement = (await client.post("/v1/refine", json=body)).json()
    assert refinement["stopped_by"] == "deadline"
    async with asyncio.timeout(10):
        while await _running_in(engine_url):  # noqa: ASYNC110  # vLLM's metrics send no events
            await asyncio.sleep(0.1)


async def test_sampling_and_budget_reach_the_model(engine_url: str) -> None:
    async with server(engine_url) as client:
        body = {**PROBLEM, "sampling": {"max_tokens": 3, "seed": 1}, "budget": {"tokens": 9}}
        refinement = (await client.post("/v1/refine", json=body)).json()
    assert refinement["usage"]["completion_tokens"] <= 9
    assert (refinement["decision"], refinement["stopped_by"]) == ("unresolved", "tokens")


async def test_a_question_longer_than_the_models_context_is_refused(engine_url: str) -> None:
    async with server(engine_url) as client:
        response = await client.post("/v1/refine", json={"question": "apples and pears " * 1500})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


async def test_a_model_that_is_not_served_is_told(engine_url: str) -> None:
    async with server(engine_url, model="no-such-model") as client:
        ready = await client.get("/ready")
        refined = await client.post("/v1/refine", json=PROBLEM)
    assert ready.status_code == 503
    assert ready.json()["checks"]["sandbox"]["ready"]
    assert "no-such-model" in ready.json()["checks"]["model"]["detail"]
    assert refined.status_code == 502
    assert "no-such-model" in refined.json()["error"]["message"]


async def test_a_model_that_is_down_is_told() -> None:
    async with server("http://127.0.0.1:9/v1") as client:
        refined = await client.post("/v1/refine", json=PROBLEM)
        assert (await client.get("/ready")).status_code == 503
        assert (await client.get("/health")).status_code == 200
    assert (refined.status_code, refined.json()["error"]["code"]) == (503, "model_unavailable")


async def test_a_cot_model_writes_the_cot_where_there_is_none(engine_url: str) -> None:
    async with server(engine_url, cot_model="cap-small") as client:
        body = {"question": "2 + 2?", "strategy": "single", "include": ["candidates"]}
        refinement = (await client.post("/v1/refine", json=body)).json()
    assert (refinement["usage"]["cots"], refinement["usage"]["programs"]) == (1, 1)
    assert [each["kind"] for each in refinement["candidates"]] == ["cot", "program"]


async def test_few_shot_prompts_reach_the_model_with_their_examples(engine_url: str) -> None:
    async with server(engine_url, prompt_format="few_shot", max_tokens=64) as client:
        body = {"question": "2 + 2?", "strategy": "single"}
        refinement = (await client.post("/v1/refine", json=body)).json()
    # What the small model makes of a format that it was never taught does not matter here.
    assert refinement["usage"]["prompt_tokens"] > 400


def _texts(refinement: dict[str, Any]) -> dict[int, str]:
    """The programs by the number of their draw."""
    return {each["index"]: each["text"] for each in refinement["candidates"]}


async def _running_in(engine_url: str) -> float:
    async with httpx.AsyncClient() as client:
        text = (await client.get(engine_url.removesuffix("/v1") + "/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running")]
    assert lines
    return sum(float(line.rpartition(" ")[2]) for line in lines)
