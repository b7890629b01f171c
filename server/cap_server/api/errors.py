"""From errors to HTTP: one shape, honest statuses, nothing internal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from cap_server.errors import CapError, InvalidRequestError, MediaTypeError
from cap_server.observing import current_account
from cap_server.strategies import STRATEGIES

_MOST_FAULTS = 3
_MOST_ECHO = 40

_log = structlog.get_logger(__name__)


class Fault(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class ErrorOut(BaseModel):
    """Every error's body. `param` is the request's field that is to blame."""

    error: Fault


Responses = dict[int | str, dict[str, Any]]

READING: tuple[int, ...] = (401, 429, 503)
"""What a route with a key may answer besides 200."""

POSTING = (400, 401, 408, 413, 415, 422, 429, 503)
"""What a route with a key and a body may answer besides 200."""


OPENAI_PATHS = ("/v1/chat/completions", "/v1/responses")
"""Routes that answer invalid requests with 400, as OpenAI's do."""


def documented(*statuses: int) -> Responses:
    """The errors of a route, for its documentation."""
    return {status: {"model": ErrorOut} for status in statuses}


INTERNAL = "Something went wrong in the server; its log says what."


def error_out(error: CapError) -> ErrorOut:
    current_account().error = error.code
    return ErrorOut(
        error=Fault(message=error.message, type=error.type, param=error.param, code=error.code)
    )


def error_response(error: CapError) -> JSONResponse:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = error_out(error).model_dump()
    return JSONResponse(body, status_code=error.status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(CapError)
    async def ours(request: Request, error: CapError) -> Response:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        invalid = _invalid(request, error.errors())
        if request.url.path in OPENAI_PATHS and invalid.status == 422:
            invalid.status = 400  # what OpenAI's clients know
        return error_response(invalid)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        message, code = _HTTP.get(error.status_code, (str(error.detail), "refused"))
        response = error_response(_refusal(message, status=error.status_code, code=code))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        _log.error("fault", exc_info=error)
        return error_response(CapError(INTERNAL))


def _refusal(message: str, *, status: int, code: str) -> CapError:
    refusal = InvalidRequestError(message)
    refusal.status, refusal.code = status, code
    return refusal


_HTTP = {
    400: (
        "The body is not JSON in UTF-8, is nested too deep, or holds a number or a half of a "
        "character that JSON cannot.",
        "invalid_json",
    ),
    404: ("There is nothing at this path; GET /docs lists what there is.", "not_found"),
    405: (
        "This path does not take this method; GET /docs lists what there is.",
        "method_not_allowed",
    ),
}

_TOLD = {
    "missing": "this field is required",
    "extra_forbidden": "there is no such field",
    "unexpected_keyword_argument": "this strategy has no such parameter",
}


def _invalid(request: Request, faults: Sequence[Mapping[str, Any]]) -> CapError:
    """Which field, which value, what is allowed."""
    if faults[0]["type"] == "json_invalid":
        at = faults[0]["loc"][-1]
        message = f"The body is not JSON: {faults[0]['ctx']['error']} (at character {at})."
        return _refusal(message, status=400, code="invalid_json")
    if faults[0]["loc"] == ("body",) and "json" not in request.headers.get("content-type", ""):
        return MediaTypeError("Send the body as JSON, with 'Content-Type: application/json'.")
    return invalid_fields(faults)


def invalid_fields(
    faults: Sequence[Mapping[str, Any]], *, of: tuple[str | int, ...] = ()
) -> InvalidRequestError:
    """Args:
    faults: as pydantic tells them, at least one.
    of: where in the request they are, where pydantic did not see the whole.
    """
    told = [f"{_param((*of, *fault['loc']))}: {_told(fault)}" for fault in faults[:_MOST_FAULTS]]
    return InvalidRequestError("; ".join(told), param=_param((*of, *faults[0]["loc"])))


def _param(loc: Sequence[str | int]) -> str:
    """The field's path as the request has it: pydantic adds the name of the strategy."""
    parts = [str(part) for part in loc[1:]]
    if len(parts) > 1 and parts[0] == "strategy" and parts[1] in STRATEGIES:
        del parts[1]
    return ".".join(parts) or "body"


def _told(fault: Mapping[str, Any]) -> str:
    if (told := _TOLD.get(fault["type"])) is not None:
        return told
    return f"{fault['msg'].removeprefix('Value error, ')} (got {_echo(fault.get('input'))})"


def _echo(value: object) -> str:
    """`value` as JSON, in ASCII and short: it goes back to whoever sent it, and into logs."""
    text = json.dumps(value, default=lambda _: "…")
    return text if len(text) <= _MOST_ECHO else f"{text[:_MOST_ECHO]}… of {len(text)} characters"
