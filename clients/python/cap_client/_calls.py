"""Every call of the API as a flow: what is sent, and how the answer is read."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, Unpack

from cap_client._configuration import Configuration
from cap_client._errors import UnreachableError, error_of
from cap_client._flow import Doing, Emit, Flow, Head, Open, Request, Wait, rest
from cap_client._options import ChatOptions, Limits, Message, Problem, RefineOptions, SharedOptions
from cap_client._reading import Reading, chunks, events, items, parsed
from cap_client._results import (
    BatchItem,
    ChatChunk,
    Event,
    Execution,
    Readiness,
    Refinement,
    Result,
    Sources,
    Strategies,
)
from cap_client._retries import Attempts

T = TypeVar("T")
R = TypeVar("R", bound=Result)

_DEADLINE_S = 60.0
"""The server's, where a request names none."""


def refine(of: Configuration, question: str, **options: Unpack[RefineOptions]) -> Flow[Refinement]:
    asked = _given("refine", RefineOptions, options)
    deadline_s = float((options.get("budget") or {}).get("deadline_s", _DEADLINE_S))
    request = Request(
        "POST",
        "/v1/refine",
        body={"question": question, **asked},
        silence_s=deadline_s + of.timeout_s,
    )
    return _whole(of, request, Refinement)


def refine_stream(
    of: Configuration, question: str, **options: Unpack[RefineOptions]
) -> Flow[Event]:
    asked = _given("refine_stream", RefineOptions, options)
    body = {"question": question, **asked, "stream": True}
    request = Request("POST", "/v1/refine", body=body, silence_s=of.timeout_s)
    return _stream(of, request, events)


def chat_stream(
    of: Configuration,
    messages: Iterable[Message],
    *,
    model: str,
    cap: ChatOptions | None,
    fields: Mapping[str, Any],
) -> Flow[ChatChunk]:
    asked = {"cap": _given("cap", ChatOptions, cap)} if cap else {}
    body = {**fields, "model": model, "messages": list(messages), **asked, "stream": True}
    request = Request("POST", "/v1/chat/completions", body=body, silence_s=of.timeout_s)
    return _stream(of, request, chunks)


def execute(of: Configuration, program: str, *, limits: Limits | None = None) -> Flow[Execution]:
    body = {"program": program} | ({"limits": dict(limits)} if limits else {})
    silence_s = (limits or {}).get("wall_s", 0) + of.timeout_s
    return _whole(of, Request("POST", "/v1/execute", body=body, silence_s=silence_s), Execution)


def strategies(of: Configuration) -> Flow[Strategies]:
    return _whole(of, _get("/v1/strategies", of), Strategies)


def sources(of: Configuration) -> Flow[Sources]:
    return _whole(of, _get("/v1/sources", of), Sources)


def ready(of: Configuration) -> Flow[Readiness]:
    """Asked once: that the server is not ready is an answer, with status 503."""
    head: Head = yield Open(_get("/ready", of))
    body = yield from rest()
    if head.status not in (200, 503) or b'"checks"' not in body:
        raise error_of(head.status, head.headers, body)
    yield Emit(parsed(Readiness.model_validate_json, body))


def batch(
    of: Configuration,
    problems: Iterable[Problem],
    *,
    reading: Reading,
    **options: Unpack[SharedOptions],
) -> Flow[BatchItem]:
    """Read items until the batch is whole, from as many answers as that takes."""
    asked = _given("batch", SharedOptions, options)
    request = Request(
        "POST",
        "/v1/refine/batch",
        body={"problems": [_without_unset(each) for each in problems], **asked},
        headers={"Idempotency-Key": reading.idempotency_key},
        silence_s=of.timeout_s,
    )
    return _batch(of, request, reading)


def _batch(of: Configuration, request: Request, reading: Reading) -> Flow[BatchItem]:
    attempts = Attempts(of.retries, free=True)
    while not reading.summary:
        yield from _open(request, attempts)
        try:
            yield from items(reading, moved_on=attempts.moved_on)
        except UnreachableError as error:
            yield Wait(attempts.wait_s(error))


def _stream(of: Configuration, request: Request, read: Callable[[], Flow[T]]) -> Flow[T]:
    yield from _open(request, Attempts(of.retries, free=False))
    yield from read()


def _whole(of: Configuration, request: Request, result: type[R]) -> Flow[R]:
    attempts = Attempts(of.retries, free=request.method == "GET")
    while True:
        yield from _open(request, attempts)
        try:
            body = yield from rest()
            break
        except UnreachableError as error:
            yield Wait(attempts.wait_s(error))
    yield Emit(parsed(result.model_validate_json, body))


def _open(request: Request, attempts: Attempts) -> Doing[Head]:
    """Send `request` until it is answered with 200."""
    while True:
        try:
            head: Head = yield Open(request)
            if head.status == 200:
                return head
            failure = error_of(head.status, head.headers, (yield from rest()))
        except UnreachableError as error:
            failure = error
        yield Wait(attempts.wait_s(failure))


def _get(path: str, of: Configuration) -> Request:
    return Request("GET", path, silence_s=of.timeout_s)


def new_key() -> str:
    """An idempotency key that nobody else has."""
    return uuid.uuid4().hex


def _given(function: str, options: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, as the API takes it.

    Raises:
        TypeError: an option is misspelt.
    """
    known: frozenset[str] = options.__optional_keys__ | options.__required_keys__  # type: ignore[attr-defined]
    if unknown := sorted(given.keys() - known):
        raise TypeError(f"{function}() got an unexpected keyword argument {unknown[0]!r}")
    return _without_unset(given)


def _without_unset(given: Mapping[str, Any]) -> dict[str, Any]:
    """Whatever a server's default may fill is left out."""
    return {name: value for name, value in given.items() if value is not None}
