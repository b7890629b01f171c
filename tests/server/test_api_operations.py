"""The small routes: execute, strategies, models, health and readiness."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest

from cap_server.domain import Execution, Value
from cap_server.errors import ModelUnavailableError, SandboxUnavailableError
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import served

Scripted = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


async def test_execute_returns_what_became_of_the_program() -> None:
    nested = Value("list", "[1]", items=(Value("expression", "sqrt(2)", latex=r"\sqrt{2}"),))
    execution = Execution("ok", nested, stdout="hi", wall_s=0.5, cpu_s=0.25, peak_memory_bytes=9)
    async with served(tools(ScriptedModel([""]), FakeSandbox({"x": execution}))) as client:
        response = await client.post("/v1/execute", json={"program": "x"})
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "value": {
            "type": "list",
            "text": "[1]",
            "items": [{"type": "expression", "text": "sqrt(2)", "latex": r"\sqrt{2}"}],
        },
        "stdout": "hi",
        "stderr": "",
        "wall_s": 0.5,
        "cpu_s": 0.25,
        "peak_memory_bytes": 9,
    }


async def test_strategies_are_listed_with_parameters_defaults_and_ranges(
    scripted: Scripted,
) -> None:
    async with scripted(1) as client:
        listed = (await client.get("/v1/strategies")).json()
    by_name = {each["name"]: each for each in listed["data"]}
    assert list(by_name) == [
        "adaptive", "single", "pot", "best_of_n", "bonbon", "majority", "agreement", "prove",
        "iterate",
    ]  # fmt: skip
    assert listed["default"] == "adaptive"
    programs = by_name["majority"]["parameters"]["programs"]
    assert (programs["default"], programs["minimum"], programs["maximum"]) == (8, 1, 64)
    assert "2203.11171" in by_name["majority"]["source"]
    critic = by_name["best_of_n"]["parameters"]["critic"]
    assert critic["enum"] == ["generative", "reward_model", "likelihood", "contrastive"]
    assert all(each["when"] and each["summary"] for each in listed["data"])


async def test_models_lists_the_cap_model_and_the_one_that_writes_cots() -> None:
    with_cot = tools(
        ScriptedModel([""], name="cap-small"),
        FakeSandbox({}),
        cot_model=ScriptedModel([""], name="writer"),
    )
    async with served(with_cot) as client:
        data = (await client.get("/v1/models")).json()["data"]
    own = [(each["id"], each["role"]) for each in data if each["role"] != "refines"]
    assert own == [
        ("cap-small", "cap"),
        ("writer", "cot"),
    ]


class _DownModel(ScriptedModel):
    async def check(self) -> None:
        raise ModelUnavailableError("The model's server cannot be reached.")


@pytest.mark.parametrize(
    ("model", "sandbox", "status", "not_ready"),
    [
        (ScriptedModel([""]), FakeSandbox({}), 200, []),
        (_DownModel([""]), FakeSandbox({}), 503, ["model"]),
        (
            ScriptedModel([""]),
            FakeSandbox({}, failure=SandboxUnavailableError("no")),
            503,
            ["sandbox"],
        ),
    ],
)
async def test_ready_says_what_is_not(
    model: ScriptedModel, sandbox: FakeSandbox, status: int, not_ready: list[str]
) -> None:
    async with served(tools(model, sandbox)) as client:
        response = await client.get("/ready")
        assert (await client.get("/health")).json() == {"status": "alive"}
    assert response.status_code == status
    checks = response.json()["checks"]
    assert [name for name, check in checks.items() if not check["ready"]] == not_ready
    assert response.json()["ready"] is (status == 200)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nope", 404), ("GET", "/v1/refine", 405)]
)
async def test_unknown_paths_and_methods_have_the_same_error_shape(
    scripted: Scripted, method: str, path: str, status: int
) -> None:
    async with scripted(1) as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert "GET /docs" in response.json()["error"]["message"]


async def test_every_answer_has_a_request_id_and_the_api_documents_itself(
    scripted: Scripted,
) -> None:
    async with scripted(1, settings=Settings.model_validate({"api_keys": "a-key"})) as client:
        key, ids = {"Authorization": "Bearer a-key"}, set()
        packed = {**key, "Content-Encoding": "gzip"}
        for path, headers, content, status in (
            ("/v1/refine", key, b'{"question": "?"}', 200),
            ("/v1/refine", key, b"{", 400),
            ("/v1/refine", {}, b"{}", 401),
            ("/v1/execute", key, b'{"program": "answer=1"}', 403),
            ("/v1/nothing", key, b"", 404),
            ("/v1/sources", key, b"", 405),
            ("/v1/refine", key, b"x" * 600_000, 413),
            ("/v1/refine", packed, b"{}", 415),
            ("/v1/refine", key, b"{}", 422),
        ):
            sent = {"Content-Type": "application/json", **headers}
            response = await client.post(path, content=content, headers=sent)
            assert response.status_code == status
            assert response.headers["X-Request-Id"].startswith("req_")
            ids.add(response.headers["X-Request-Id"])
        assert len(ids) == 9
        assert (await client.get("/docs")).status_code == 200
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/v1/refine", "/v1/execute", "/v1/strategies", "/v1/sources", "/v1/models"} <= set(
        paths
    )
