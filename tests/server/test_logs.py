"""One line a request, of what it came to; users' texts only where the operator wants them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from cap_server.domain import Prompt, Sample, Sampling
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import served

QUESTION = "How many secrets has my diary?"
BODY = {"question": QUESTION, "cot": "The answer is 26.", "strategy": "single", "source": "me"}


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    yield
    structlog.configure(**before)


async def _lines(settings: Settings, body: dict[str, Any]) -> list[Any]:
    model = ScriptedModel([Sample("answer=18", prompt_tokens=9, completion_tokens=4)])
    given = tools(model, FakeSandbox({"answer=18": 18}))
    async with served(given, settings) as client:
        with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
            headers = {"Authorization": "Bearer sesame"}
            response = await client.post("/v1/refine", json=body, headers=headers)
            assert response.headers["X-Request-Id"] == lines[-1]["request_id"]
    return list(lines)


async def test_a_refinement_is_one_line_with_decision_and_cost() -> None:
    [line] = await _lines(Settings.model_validate({"api_keys": "open,sesame"}), BODY)
    fixed = {name: line[name] for name in line if name not in ("request_id", "wall_s", "model_s")}
    key = fixed.pop("key")
    assert key.startswith("env_")
    assert "sesame" not in str(line)
    assert fixed == {
        "event": "request", "log_level": "info", "method": "POST", "path": "/v1/refine",
        "status": 200, "strategy": "single", "decision": "corrected", "programs": 1, "cots": 0,
        "executions": 1, "prompt_tokens": 9, "completion_tokens": 4, "sandbox_s": 0.0,
    }  # fmt: skip


async def test_no_text_of_users_is_logged() -> None:
    lines = await _lines(Settings(), BODY)
    assert not any(word in str(lines) for word in ("diary", "answer is", "answer=18"))


async def test_the_operator_can_have_the_content() -> None:
    settings = Settings.model_validate({"log_content": True})
    content, request = await _lines(settings, BODY)
    assert content["question"] == QUESTION
    assert (content["original_answer"], content["answer"]) == ("26", "18")
    assert (content["program"], content["source"]) == ("answer=18", "me")
    assert content["request_id"] == request["request_id"]


async def test_an_error_is_named_by_its_code() -> None:
    [line] = await _lines(Settings.model_validate({"api_keys": "another"}), BODY)
    assert (line["status"], line["error"]) == (401, "invalid_api_key")
    assert "decision" not in line
    assert "key" not in line


async def test_a_fault_is_logged_once_under_the_id_that_its_answer_has_and_is_counted() -> None:
    class Broken(ScriptedModel):
        async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
            raise RuntimeError("a bug")

    async with served(tools(Broken([""]), FakeSandbox({}))) as client:
        with capture_logs([structlog.contextvars.merge_contextvars]) as lines:
            response = await client.post("/v1/refine", json=BODY)
        counted = (await client.get("/metrics")).text
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")
    fault, request = lines
    assert (fault["event"], request["event"]) == ("fault", "request")
    assert (request["status"], request["error"]) == (500, "internal")
    assert {fault["request_id"], request["request_id"]} == {response.headers["X-Request-Id"]}
    assert 'cap_request_errors_total{code="internal"} 1.0' in counted


async def test_probes_that_go_well_are_not_worth_a_line() -> None:
    given = tools(ScriptedModel([""]), FakeSandbox({}))
    async with served(given) as client:
        with capture_logs() as lines:
            await client.get("/health")
            await client.get("/nothing")
    assert [line["log_level"] for line in lines] == ["debug", "info"]
