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

READING: tuple[int, ...] = (401,)
"""What a route with a key may answer besides 200."""

POSTING = (400, 401, 408, 413, 415, 422)
"""What a route with a key and a body may answer besides 200."""


def documented(*statuses: int) -> Responses:
    """The errors of a route, for its documentation."""
    return {status: {"model": ErrorOut} for status in statuses}


def error_response(error: CapError) -> JSONResponse:
    fault = Fault(message=error.message, type=error.type, param=error.param, code=error.code)
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": fault.model_dump()}, status_code=error.status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(CapError)
    async def ours(request: Request, error: CapError) -> Response:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return error_response(_invalid(request, error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        refusal = _Refusal(_HTTP_MESSAGES.get(error.status_code, str(error.detail)))
        refusal.status = error.status_code
        response = error_response(refusal)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        _log.error("fault", exc_info=error)
        return error_response(CapError("Something went wrong in the server; its log says what."))


class _Refusal(InvalidRequestError):
    code = "refused"


_HTTP_MESSAGES = {
    400: "The body is not JSON in UTF-8, or is nested too deep.",
    404: "There is nothing at this path; GET /docs lists what there is.",
    405: "This path does not take this method; GET /docs lists what there is.",
}


def _invalid(request: Request, faults: Sequence[Mapping[str, Any]]) -> CapError:
    """Which field, which value, what is allowed."""
    if faults[0]["type"] == "json_invalid":
        refusal = _Refusal(f"The body is not JSON: {faults[0]['ctx']['error']}.")
        refusal.status = 400
        return refusal
    if faults[0]["loc"] == ("body",) and "json" not in request.headers.get("content-type", ""):
        return MediaTypeError("Send the body as JSON, with 'Content-Type: application/json'.")
    told = [f"{_param(fault['loc'])}: {_told(fault)}" for fault in faults[:_MOST_FAULTS]]
    return InvalidRequestError("; ".join(told), param=_param(faults[0]["loc"]))


def _param(loc: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in loc[1:]) or "body"


def _told(fault: Mapping[str, Any]) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "missing":
        return "this field is required"
    return f"{message} (got {_echo(fault.get('input'))})"


def _echo(value: object) -> str:
    """`value` as JSON, in ASCII and short: it goes back to whoever sent it, and into logs."""
    text = json.dumps(value, default=lambda _: "…")
    return text if len(text) <= _MOST_ECHO else f"{text[:_MOST_ECHO]}… of {len(text)} characters"
