"""The client's models against the server's OpenAPI document: every field, type and choice."""

from __future__ import annotations

import functools
import operator
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from pydantic import TypeAdapter, create_model

import cap_client
from cap_client._results import Failure
from cap_server import strategies
from cap_server.api import batch, chat_out, refine_events
from cap_server.api.chat_in import CapIn
from cap_server.app import create_app
from cap_server.settings import Settings

API = create_app(Settings()).openapi()
SCHEMAS = API["components"]["schemas"]

ANSWERS = {
    "CandidateOut": cap_client.Candidate,
    "CheckOut": cap_client.Check,
    "ErrorOut": Failure,
    "ExecutionOut": cap_client.Execution,
    "Fault": cap_client.Fault,
    "ModelTrustOut": cap_client.ModelTrust,
    "ReadyOut": cap_client.Readiness,
    "RefinementOut": cap_client.Refinement,
    "ReplicaOut": cap_client.Replica,
    "SourceOut": cap_client.Source,
    "SourcesOut": cap_client.Sources,
    "StepOut": cap_client.Step,
    "StrategiesOut": cap_client.Strategies,
    "StrategyOut": cap_client.StrategyDescription,
    "Usage": cap_client.Usage,
    "ValueOut": cap_client.Value,
    "WeightOut": cap_client.Weight,
}

REQUESTS = {
    "BudgetIn": cap_client.Budget,
    "LimitsIn": cap_client.Limits,
    "SamplingIn": cap_client.Sampling,
}

ROUTES = (
    "/v1/refine",
    "/v1/refine/batch",
    "/v1/execute",
    "/v1/strategies",
    "/v1/sources",
    "/ready",
)
"""Those that the client asks, but for chat completions, whose chunks OpenAPI has no words for."""

STRATEGIES = {each.__name__ for each in strategies.STRATEGIES.values()}

# Anything by the name of a strategy is one; which there are, and with which parameters, the server
# tells (`strategies()`), so that a client need not be as new as it is.
ANY_STRATEGY = {"type": "object", "strategy": True}


def shape(schema: dict[str, Any], of: dict[str, Any]) -> Any:  # noqa: ANN401
    """What of a schema decides which JSON it lets pass; ranges, lengths and words do not."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return (
            {"ref": name.removesuffix("Out")}
            if name in ("ValueOut", "Value")
            else shape(of[name], of)
        )
    if any(_is_strategy(each) for each in (schema, *schema.get("anyOf", ()))):
        return ANY_STRATEGY
    if choices := schema.get("anyOf"):
        return sorted((shape(each, of) for each in choices), key=repr)
    if "const" in schema:
        return {"enum": [schema["const"]]}
    if "enum" in schema:
        return {"enum": sorted(schema["enum"])}
    shown: dict[str, Any] = {"type": schema.get("type")}
    if "properties" in schema:
        shown["properties"] = {k: shape(v, of) for k, v in schema["properties"].items()}
        shown["required"] = sorted(schema.get("required", ()))
    elif isinstance(more := schema.get("additionalProperties"), dict):
        shown["values"] = shape(more, of)
    if "items" in schema:
        shown["items"] = shape(schema["items"], of)
    if "prefixItems" in schema:
        shown["tuple"] = [shape(each, of) for each in schema["prefixItems"]]
    return shown


def _is_strategy(schema: dict[str, Any]) -> bool:
    return "discriminator" in schema or schema.get("title") == "ResolvedStrategy"


def shape_of(model: Any) -> Any:  # noqa: ANN401
    schema = TypeAdapter(modelled(model)).json_schema()
    of = schema.get("$defs", {})
    return shape(of[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema, of)


def modelled(of: Any) -> Any:  # noqa: ANN401
    """Typed dicts as models: pydantic reads those of `typing` from Python 3.12 on only."""
    if get_origin(of) is UnionType:
        united = [modelled(each) for each in get_args(of)]
        return functools.reduce(operator.or_, united)
    if not is_typeddict(of):
        return of
    hints = get_type_hints(of)
    fields: dict[str, Any] = {
        n: (modelled(t), ... if n in of.__required_keys__ else None) for n, t in hints.items()
    }
    return create_model(of.__name__, **fields)


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_is_the_servers(name: str) -> None:
    assert shape_of(ANSWERS[name]) == shape(SCHEMAS[name], SCHEMAS)


@pytest.mark.parametrize("name", REQUESTS)
def test_every_option_is_the_servers(name: str) -> None:
    assert shape_of(REQUESTS[name]) == shape(SCHEMAS[name], SCHEMAS)


def test_refine_takes_what_the_server_takes() -> None:
    theirs = {**SCHEMAS["RefineIn"]["properties"]}
    del theirs["stream"]  # that is what `refine_stream` is for
    del theirs["question"]
    assert_takes(cap_client.RefineOptions, theirs)


def test_a_chat_takes_what_the_server_takes() -> None:
    schema = TypeAdapter(CapIn).json_schema(ref_template="#/components/schemas/{model}")
    assert_takes(cap_client.ChatOptions, schema["properties"])


def test_every_chunk_is_the_servers() -> None:
    """Of OpenAI's fields, those that this client reads."""
    theirs, ours = shape_of(chat_out.ChunkOut), shape_of(cap_client.ChatChunk)
    del theirs["properties"]["usage"]
    del theirs["properties"]["choices"]["items"]["properties"]["logprobs"]
    assert ours == theirs


def assert_takes(options: Any, theirs: dict[str, Any]) -> None:  # noqa: ANN401
    """Every option is a field of that type, or None for the server's default."""
    schema = TypeAdapter(modelled(options)).json_schema()
    ours = schema["properties"]
    assert ours.keys() == theirs.keys()
    for name in ours.keys() - {"strategy"}:
        assert without_null(ours[name], schema["$defs"]) == without_null(theirs[name], SCHEMAS), (
            name
        )


def without_null(schema: dict[str, Any], of: dict[str, Any]) -> Any:  # noqa: ANN401
    found = shape(schema, of)
    left = (
        [each for each in found if each != {"type": "null"}] if isinstance(found, list) else [found]
    )
    assert len(left) == 1
    return left[0]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (cap_client.BatchItem, batch.BatchItemOut),
        (cap_client.BatchSummary, batch.BatchOut),
    ],
)
def test_every_line_of_a_batch_is_the_servers(ours: object, theirs: object) -> None:
    assert shape_of(ours) == shape_of(theirs)


def test_a_batch_takes_what_the_server_takes() -> None:
    theirs = {**SCHEMAS["BatchIn"]["properties"]}
    problem = without_null(theirs.pop("problems")["items"], SCHEMAS)
    assert_takes(cap_client.SharedOptions, theirs)
    assert shape_of(cap_client.Problem)["properties"].keys() == problem["properties"].keys()
    assert shape_of(cap_client.Problem)["required"] == problem["required"]


@pytest.mark.parametrize("name", ["CandidateEvent", "ExecutionEvent", "StepEvent"])
def test_every_event_is_the_servers(name: str) -> None:
    """OpenAPI has no words for the events of a stream."""
    assert shape_of(getattr(cap_client, name)) == shape_of(getattr(refine_events, name))


def test_every_answer_of_the_routes_is_compared() -> None:
    """A schema that a route answers with and that no test compares would go stale unseen."""
    answers = {name for path in ROUTES for name in schemas_in(responses_of(path))}
    assert answers - STRATEGIES == ANSWERS.keys()


def responses_of(path: str) -> list[Any]:
    return [operation["responses"] for operation in API["paths"][path].values()]


def schemas_in(part: object) -> set[str]:
    """The names of all schemas that `part` is made of."""
    found: set[str] = set()
    left: list[object] = [part]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            name = str(each.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                left.append(SCHEMAS[name])
            left += each.values()
        elif isinstance(each, list):
            left += each
    return found
