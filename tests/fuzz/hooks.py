"""What schemathesis has to know of this server: what is honest, and how to get beyond the door.

Loaded by `st run` itself (SCHEMATHESIS_HOOKS).
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import jsonschema_rs
import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.fuzz.upstream import MODEL

_BATCH = "/v1/refine/batch"
_MODELS = ("cap", "cap:majority", "cap:single", "cap:iterate", MODEL)
_LONGEST_MODEL = 200
_ROLES = ("user", "user", "assistant", "system")

HONEST = {503: {"critic_unavailable"}, 504: {"deadline"}}
"""The only statuses above 499, and why: a critic that this server has not got; 10 ms are over."""

BETWEEN_FIELDS = {
    "idempotency_key_reused",  # one key, two bodies
    "model_not_found",
}
"""Codes of what no schema of one field can refuse."""


class NotHonest(Failure):
    """The server failed, or says that it did."""

    def __init__(self, operation: str, message: str) -> None:
        super().__init__(operation=operation, title="Not an honest answer", message=message)


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: object) -> object:
    """Put in models and roles that exist, in most cases: a schema does not tell them."""
    number = zlib.crc32(repr(body).encode("utf-8", "surrogatepass"))
    if isinstance(body, dict) and number % 8:
        model = body.get("model")
        if isinstance(model, str) and 1 <= len(model) <= _LONGEST_MODEL:  # else it is to be refused
            body["model"] = _MODELS[number % len(_MODELS)]
        for messages in (body.get("messages"), body.get("input")):
            _with_roles(messages, number)
    return body


def _with_roles(messages: object, number: int) -> None:
    for i, message in enumerate(messages if isinstance(messages, list) else ()):
        if isinstance(message, dict) and isinstance(message.get("role"), str):
            message["role"] = _ROLES[(number + i) % len(_ROLES)]
            if not isinstance(message.get("content"), list | dict | int | float):
                message["content"] = message.get("content") or "What is 6 times 3?"
            if isinstance(message.get("type"), str):
                message["type"] = "message"


@schemathesis.check
def only_honest_failures(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """Above 499 there is what the request itself brought about, and it says so."""
    status = response.status_code
    if status >= 500 and _code(response) not in HONEST.get(status, ()):
        raise NotHonest(case.operation.label, f"{status}: {response.text[:300]}")
    return None


@schemathesis.check
def data_is_judged_by_the_schema(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """What the schema allows is taken, what it forbids is refused; but for what it cannot say."""
    one_items = _BATCH in case.path and response.status_code == 200
    if not one_items and response.status_code != 413:  # a refusal too: of its size, unread
        negative_data_rejection(ctx, response, case)
    if not _is_between_fields(response):
        positive_data_acceptance(ctx, response, case)
    return None


def _is_between_fields(response: schemathesis.Response) -> bool:
    """Whether a refusal is of a kind that no schema of a single field expresses.

    OpenAI's routes refuse with 400 what a field of theirs asks for and a refinement cannot give;
    that says which field it is, and goes for fields that its schema leaves open.
    """
    if _code(response) in BETWEEN_FIELDS:
        return True
    param = _fault(response).get("param")
    opens = ("messages", "input", "tools", "text", "budget", "cap", "optillm_approach")
    named = isinstance(param, str) and param.partition(".")[0] in (*opens, *_LEFT_OPEN)
    return response.status_code == 400 and named and _code(response) == "invalid_value"


_LEFT_OPEN = (
    "tool_choice", "functions", "function_call", "logprobs", "top_logprobs", "audio", "prediction",
    "web_search_options", "response_format", "modalities",
)  # fmt: skip


@schemathesis.check
def every_line_is_as_documented(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> bool | None:
    """Batches answer line by line, which the built-in check does not read."""
    if _BATCH in case.path and response.status_code == 200:
        validator = _line_validator(case.operation.schema.raw_schema)
        lines = [line for line in response.content.split(b"\n") if line]
        for line in lines:
            validator.validate(json.loads(line))
        if not lines or json.loads(lines[-1])["object"] != "refinement.batch":
            raise NotHonest(case.operation.label, "the batch has no last line")
    return None


_validators: dict[int, jsonschema_rs.Draft202012Validator] = {}


def _line_validator(document: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    if id(document) not in _validators:
        answer = document["paths"][_BATCH]["post"]["responses"]["200"]
        schema = answer["content"]["application/x-ndjson"]["schema"]
        whole = {**schema, "components": document["components"]}
        _validators[id(document)] = jsonschema_rs.Draft202012Validator(whole)
    return _validators[id(document)]


def _code(response: schemathesis.Response) -> str:
    return str(_fault(response).get("code"))


def _fault(response: schemathesis.Response) -> dict[str, Any]:
    try:
        error = json.loads(response.text)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}
