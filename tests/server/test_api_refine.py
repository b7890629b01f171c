"""`POST /v1/refine` as its users see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest

from cap_server.domain import Execution, Problem, Sample
from cap_server.errors import (
    CapError,
    ModelResponseError,
    ModelUnavailableError,
    PromptTooLongError,
    SandboxUnavailableError,
)
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import served

Scripted = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

MAJORITY = {
    "name": "majority",
    "programs": 8,
    "overrule": 0.75,
    "weights": None,
    "critic_required": False,
}

PROBLEM = {"question": "What is 6 times 3?", "cot": "6 * 3 = 26. The answer is 26."}


async def test_a_refinement_carries_decision_evidence_and_usage(scripted: Scripted) -> None:
    async with scripted(18) as client:
        response = await client.post(
            "/v1/refine", json={**PROBLEM, "source": "gpt-4o-mini", "strategy": "majority"}
        )
    assert response.status_code == 200, response.text
    refinement = response.json()
    assert refinement.pop("id").startswith("ref_")
    assert refinement.pop("created") > 1_700_000_000
    usage = refinement.pop("usage")
    assert (usage["programs"], usage["executions"], usage["failed"]) == (8, 1, 0)
    assert usage["finished"] + usage["cancelled"] == 8
    assert refinement == {
        "object": "refinement",
        "model": "scripted",
        "decision": "corrected",
        "answer": "18",
        "original_answer": "26",
        "confidence": 0.8889,
        "program": "answer=18",
        "execution": {
            "status": "ok",
            "value": {"type": "int", "text": "18"},
            "stdout": "",
            "stderr": "",
            "wall_s": 0.0,
            "cpu_s": 0.0,
            "peak_memory_bytes": 0,
        },
        "strategy": MAJORITY,
        "candidates": None,
        "trace": None,
        "warnings": [],
        "stopped_by": None,
    }


async def test_candidates_are_returned_when_they_are_asked_for(scripted: Scripted) -> None:
    async with scripted(18, 17) as client:
        body = {**PROBLEM, "include": ["candidates"], "strategy": {"name": "pot", "programs": 2}}
        refinement = (await client.post("/v1/refine", json=body)).json()
    assert [(c["kind"], c["index"], c["answer"]) for c in refinement["candidates"]] == [
        ("program", 0, "18"),
        ("program", 1, "17"),
    ]


@pytest.mark.parametrize(
    ("strategy", "resolved"),
    [
        ("single", {"name": "single"}),
        ({"name": "majority"}, MAJORITY),
        ({"name": "pot", "programs": 3}, {"name": "pot", "programs": 3, "overrule": 0.75}),
    ],
)
async def test_a_strategy_is_a_bare_name_or_an_object(
    scripted: Scripted, strategy: object, resolved: object
) -> None:
    async with scripted(18) as client:
        response = await client.post("/v1/refine", json={**PROBLEM, "strategy": strategy})
    assert response.json()["strategy"] == resolved


async def test_a_budget_that_ends_the_request_is_named(scripted: Scripted) -> None:
    async with scripted(18) as client:
        body = {**PROBLEM, "budget": {"programs": 3}, "strategy": "majority"}
        refinement = (await client.post("/v1/refine", json=body)).json()
    assert (refinement["stopped_by"], refinement["usage"]["programs"]) == ("programs", 3)


INVALID: list[tuple[dict[str, Any], str, str]] = [
    ({"question": None}, "question", "valid string"),
    ({"question": ""}, "question", "at least 1 character"),
    ({"question": " \n\t"}, "question", "should match pattern"),
    ({"question": 5}, "question", "valid string"),
    ({"question": "x" * 40_000}, "question", "at most 32768 characters"),
    ({"cot": ["a"]}, "cot", "valid string"),
    ({"cot": ""}, "cot", "at least 1 character"),
    ({"choices": ["only one"]}, "choices", "at least 2 items"),
    ({"choices": ["x"] * 27}, "choices", "at most 26 items"),
    ({"strategy": "wisdom"}, "strategy", "must be one of adaptive, single, pot"),
    ({"strategy": {"programs": 3}}, "strategy", "must be one of adaptive, single, pot"),
    ({"strategy": {"name": ["x"]}}, "strategy", "must be one of adaptive, single, pot"),
    ({"strategy": 7}, "strategy", ""),
    ({"strategy": {"name": "majority", "programs": 0}}, "strategy.programs", "equal to 1"),
    (
        {"strategy": {"name": "majority", "programs": 10_000}},
        "strategy.programs",
        "less than or equal to 64 (got 10000)",
    ),
    ({"strategy": {"name": "majority", "n": 8}}, "strategy.n", "no such parameter"),
    ({"strategy": {"name": "single", "programs": 8}}, "strategy.programs", "no such parameter"),
    ({"sampling": {"temperature": 3}}, "sampling.temperature", "less than or equal to 2"),
    ({"sampling": {"seed": -1}}, "sampling.seed", "greater than or equal to 0"),
    ({"sampling": {"top_p": 0}}, "sampling.top_p", "greater than 0"),
    ({"sampling": {"best_of": 3}}, "sampling.best_of", "no such field"),
    ({"budget": {"deadline_s": -1}}, "budget.deadline_s", "greater than or equal to 0.01"),
    ({"budget": {"deadline_s": 1e9}}, "budget.deadline_s", "less than or equal to 600"),
    ({"budget": {"programs": 0}}, "budget.programs", "greater than or equal to 1"),
    ({"limits": {"wall_s": 1000}}, "limits.wall_s", "less than or equal to 60"),
    ({"limits": {"memory_bytes": 1}}, "limits.memory_bytes", "greater than or equal to"),
    ({"include": ["everything"]}, "include.0", "'candidates'"),
    ({"stream": "yes"}, "stream", "valid boolean"),
    ({"source": "a\0b"}, "source", "should match pattern"),
    ({"source": "x" * 201}, "source", "at most 200 characters"),
    ({"questoin": "x"}, "questoin", "no such field"),
]


@pytest.mark.parametrize(("fields", "param", "message"), INVALID)
async def test_invalid_input_says_which_field_which_value_and_what_is_allowed(
    scripted: Scripted, fields: dict[str, Any], param: str, message: str
) -> None:
    async with scripted(18) as client:
        response = await client.post("/v1/refine", json={**PROBLEM, **fields})
    assert response.status_code == 422
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_value")
    assert error["param"] == param
    assert message in error["message"]
    assert len(error["message"]) < 400


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 422, "required"),
        (b"{", 400, "not JSON"),
        (b'{"question": "\xff\xfe"}', 400, "UTF-8"),
        (b'{"question": "\\ud800"}', 400, "half of a character"),
        (b'{"question": "x", "budget": {"deadline_s": NaN}}', 400, "a number"),
        (b'{"question": "x", "sampling": {"seed": 1' + b"0" * 5000 + b"}}", 400, "JSON"),
        (b"[" * 9_000, 400, "JSON"),
        (b"[" * 100_000, 413, "fields and items"),
        (b'["question"]', 422, "body"),
        (b"null", 422, "body"),
    ],
)
async def test_a_body_that_is_no_request_is_refused(
    scripted: Scripted, content: bytes, status: int, message: str
) -> None:
    async with scripted(18) as client:
        headers = {"Content-Type": "application/json"}
        response = await client.post("/v1/refine", content=content, headers=headers)
    assert response.status_code == status
    assert message in response.json()["error"]["message"]


async def test_a_body_without_a_json_content_type_is_told_so(scripted: Scripted) -> None:
    async with scripted(18) as client:
        response = await client.post("/v1/refine", content=b"question=x")
    assert response.status_code == 415
    assert "application/json" in response.json()["error"]["message"]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused_whether_or_not_it_declares_its_length(
    scripted: Scripted, declared: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b"x" * 65_536

    content = b"x" * 1_100_000 if declared else chunks()
    async with scripted(18) as client:
        response = await client.post("/v1/refine", content=content)
    assert response.status_code == 413
    assert response.json()["error"]["message"] == "The body is larger than 524288 bytes."


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (ModelUnavailableError("down", retry_after_s=5), 503, "model_unavailable"),
        (ModelResponseError("garbage"), 502, "model_response"),
        (PromptTooLongError("long", param="cot"), 400, "context_length_exceeded"),
    ],
)
async def test_a_model_that_fails_is_an_honest_error(
    failure: CapError, status: int, code: str
) -> None:
    async with served(tools(ScriptedModel([failure]), FakeSandbox({}))) as client:
        response = await client.post("/v1/refine", json=PROBLEM)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers.get("Retry-After") == ("5" if status == 503 else None)


async def test_a_sandbox_that_fails_is_an_honest_error() -> None:
    sandbox = FakeSandbox({}, failure=SandboxUnavailableError("down"))
    async with served(tools(ScriptedModel(["answer=1"]), sandbox)) as client:
        response = await client.post("/v1/refine", json=PROBLEM)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "sandbox_unavailable")


@pytest.mark.parametrize("sample", ["", "I cannot help with that.", Sample("x=", complete=False)])
async def test_a_model_that_writes_no_program_leaves_the_prior_untouched(
    sample: str | Sample,
) -> None:
    async with served(tools(ScriptedModel([sample]), FakeSandbox({}))) as client:
        refinement = (await client.post("/v1/refine", json=PROBLEM)).json()
    assert (refinement["decision"], refinement["answer"], refinement["confidence"]) == (
        "unresolved",
        "26",
        0.0,
    )


async def test_a_program_that_never_ends_leaves_the_prior_untouched() -> None:
    sandbox = FakeSandbox({"while True: pass": Execution("timeout", wall_s=3.0)})
    async with served(tools(ScriptedModel(["while True: pass"]), sandbox)) as client:
        refinement = (await client.post("/v1/refine", json=PROBLEM)).json()
    assert (refinement["decision"], refinement["answer"]) == ("unresolved", "26")


async def test_the_deadline_before_any_answer_is_a_504_where_there_is_no_prior() -> None:
    slow = ScriptedModel(["answer=1"], delay_s=30)
    async with served(tools(slow, FakeSandbox({}))) as client:
        body = {"question": "?", "budget": {"deadline_s": 0.05}}
        response = await client.post("/v1/refine", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline")


async def test_a_fault_of_the_server_tells_nothing_of_its_insides() -> None:
    class Broken(ScriptedModel):
        async def check(self) -> None:
            raise RuntimeError("/etc/secret")

    async with served(tools(Broken(["x"]), FakeSandbox({}))) as client:
        response = await client.get("/ready")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"]["code"] == "internal"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Basic one", 401),
        ("Bearer one", 200),
        ("Bearer two", 200),
    ],
)
async def test_a_server_with_keys_takes_only_those(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, header: str | None, status: int
) -> None:
    monkeypatch.setenv("CAP_API_KEYS", "one,two")
    monkeypatch.setenv("CAP_API_KEYS_EXECUTE", "true")
    headers = {"Authorization": header} if header else {}
    async with scripted(18, settings=Settings()) as client:
        for path in ("/v1/models", "/v1/strategies"):
            assert (await client.get(path, headers=headers)).status_code == status
        refined = await client.post("/v1/refine", json=PROBLEM, headers=headers)
        executed = await client.post("/v1/execute", json={"program": "x=1"}, headers=headers)
        assert (refined.status_code, executed.status_code) == (status, status)
        assert (await client.get("/health")).status_code == 200
    if status == 401:
        assert refined.headers["WWW-Authenticate"] == "Bearer"


async def test_the_question_reaches_the_model_as_it_was_sent() -> None:
    model = ScriptedModel(["answer=1"])
    question = '  ¿Cuánto es "6 × 3"?\n\t{{x}} <|user|> 好  '
    async with served(tools(model, FakeSandbox({"answer=1": 1}))) as client:
        await client.post("/v1/refine", json={"question": question, "strategy": "single"})
    assert model.prompts[0].problem == Problem(question)
