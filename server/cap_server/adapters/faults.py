"""What an upstream's refusal means here. Its own text may hold internals, and users' texts: it is
not told, and logged where the operator wants users' texts logged.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
from pydantic import BaseModel, ValidationError

from cap_server.errors import (
    CapError,
    InvalidRequestError,
    ModelResponseError,
    ModelUnavailableError,
    PromptTooLongError,
)

MODEL_DOWN = "The model's server cannot be reached."

_LONGEST_RETRY_AFTER_S = 3600
_LONGEST_REASON = 300
_NAME = re.compile(r"(?!None$)[\w.\[\]-]{1,64}", re.ASCII)
"""A code, or the path of a field: nothing that a user could have written as text."""


class _Fault(BaseModel):
    message: str = ""
    param: str | None = None
    code: str | int | None = None


class _Refusal(BaseModel):
    error: _Fault


def fault_of(response: httpx.Response, model: str) -> CapError:
    """Our error for a `response` whose status is not 200."""
    status = response.status_code
    told = _told(response)
    if status == httpx.codes.BAD_REQUEST and (_is_too_long(told) or _asks_too_much(told)):
        return PromptTooLongError(
            "The question and its CoT are too long for the model's context; shorten them.",
            param="cot",
        )
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return ModelResponseError("The model's server refuses this server's credentials.")
    if status == httpx.codes.NOT_FOUND:
        return ModelResponseError(f"The model's server does not serve {model!r}.")
    if status in (429, 503, 504):
        return ModelUnavailableError(
            "The model's server is overloaded.", retry_after_s=retry_after_s(response) or 1
        )
    return ModelResponseError(f"The model's server answered with status {status}.")


def facts_of(response: httpx.Response) -> dict[str, str | int]:
    """What the log tells of a refusal; `body` only where it may hold users' texts."""
    told = _told(response)
    named = {"code": str(told.code), "param": str(told.param)}
    facts: dict[str, str | int] = {"status": response.status_code, "body": response.text[:500]}
    return facts | {name: each for name, each in named.items() if _NAME.fullmatch(each)}


def chat_fault_of(
    response: httpx.Response, model: str, *, mask: Callable[[str], str] = str
) -> CapError:
    """As `fault_of`, where the request is the client's own words: why it is refused is told.

    The reason answers what the client sent, and is the only part of the upstream's text that
    reaches it.

    Args:
        response: the refusal.
        model: as the upstream names it.
        mask: hides the upstream's key, which a client has not sent.
    """
    told = _told(response)
    if response.status_code not in (400, 422) or _is_too_long(told):
        return fault_of(response, model)
    printable = "".join(c if c.isprintable() else " " for c in mask(told.message))
    reason = printable[:_LONGEST_REASON].strip()
    refusal = InvalidRequestError(
        f"The model refuses this request: {reason or 'it does not say why'}",
        param=told.param and mask(told.param),
    )
    refusal.status = 400
    return refusal


def _told(response: httpx.Response) -> _Fault:
    try:
        return _Refusal.model_validate_json(response.content).error
    except ValidationError:
        return _Fault()


def _is_too_long(told: _Fault) -> bool:
    """Whether the prompt, or the prompt with `max_tokens`, exceeds the model's context.

    vLLM names the parameter `input_tokens`, OpenAI the code; older servers say it in words only.
    """
    named = told.param == "input_tokens" or told.code == "context_length_exceeded"
    return named or "context length" in told.message


def _asks_too_much(told: _Fault) -> bool:
    """Whether `max_tokens` alone exceeds it, in vLLM's words."""
    return told.param == "max_tokens" and "max_model_len" in told.message


def retry_after_s(response: httpx.Response) -> int | None:
    """The upstream's own Retry-After, where it gives one in seconds."""
    value = response.headers.get("retry-after", "")
    return min(int(value), _LONGEST_RETRY_AFTER_S) if re.fullmatch("[0-9]{1,9}", value) else None
