"""Traces: one span a request, a draw and an execution, sent to a receiver that really listens."""

from __future__ import annotations

import os
import sys

import pytest
from pydantic import ValidationError

from cap_server.domain import Sample
from cap_server.errors import ModelUnavailableError
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import served
from tests.server.otlp import attributes, receiver

BODY = {"question": "What is 6 times 3?", "strategy": {"name": "majority", "programs": 2}}


@pytest.fixture(autouse=True)
def _no_variables_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


async def test_a_request_is_a_trace_of_its_draws_and_executions() -> None:
    script = [Sample("answer=18", prompt_tokens=9, completion_tokens=4), Sample("answer=18 ")]
    sandbox = FakeSandbox({"answer=18": 18})
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with receiver() as received:
        settings = Settings.model_validate({"traces_url": f"{received.url}/v1/traces"})
        async with served(tools(ScriptedModel(script), sandbox), settings) as client:
            await client.get("/health")
            response = await client.post("/v1/refine", json=BODY, headers={"traceparent": parent})
            assert response.status_code == 200
    assert set(received.paths) == {"/v1/traces"}
    assert received.service_names() == {"cap-server"}
    by_name: dict[str, list[dict[str, str | int]]] = {}
    for span in received.spans:
        by_name.setdefault(span.name, []).append(attributes(span))
    assert {name: len(each) for name, each in by_name.items()} == {
        "POST /v1/refine": 1,
        "draw": 2,
        "execution": response.json()["usage"]["executions"],
    }
    [request] = by_name["POST /v1/refine"]
    assert request["http.response.status_code"] == 200
    assert (request["cap.strategy"], request["cap.decision"]) == ("majority", "answered")
    draw = next(each for each in by_name["draw"] if each["cap.draw"] == 0)
    assert (draw["gen_ai.usage.input_tokens"], draw["cap.outcome"]) == (9, "finished")
    assert by_name["execution"][0]["cap.status"] == "ok"
    [root] = [span for span in received.spans if span.name == "POST /v1/refine"]
    assert root.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert root.parent_span_id.hex() == "b7ad6b7169203331"
    others = [span for span in received.spans if span is not root and span.name != root.name]
    assert {(span.trace_id, span.parent_span_id) for span in others} == {
        (root.trace_id, root.span_id)
    }


async def test_traces_name_what_failed_and_hold_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScriptedModel([ModelUnavailableError("a secret message")])
    with receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "my-cap")
        async with served(tools(model, FakeSandbox({}))) as client:
            assert (await client.post("/v1/refine", json=BODY)).status_code == 503
    assert received.service_names() == {"my-cap"}
    errors = {attributes(span).get("error.type") for span in received.spans}
    assert errors == {"model_unavailable"}
    sent = str(received.requests)
    assert not any(word in sent for word in ("secret", "6 times 3"))


async def test_without_being_asked_for_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        async with served(tools(ScriptedModel(["answer=18"]), FakeSandbox({}))) as client:
            await client.post("/v1/refine", json=BODY)
    assert received.requests == []
    assert not Settings().traces


async def test_a_collector_that_is_down_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with receiver() as received:
        url = received.url
    settings = Settings.model_validate({"traces_url": f"{url}/v1/traces"})
    given = tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))
    async with served(given, settings) as client:
        response = await client.post("/v1/refine", json=BODY)
    assert response.json()["answer"] == "18"


def test_traces_without_the_extra_are_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(ValidationError, match="traces"):
        Settings.model_validate({"traces_url": "http://127.0.0.1:4318/v1/traces"})
