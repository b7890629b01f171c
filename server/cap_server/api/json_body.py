"""A request's JSON, read more strictly than Python does: whatever it holds can be written again.

Python takes NaN, infinities, halves of characters and UTF-16. They would fail later, where the
model is asked or the answer is written, and not as the request's fault. And it takes any number of
parts, of which every single one may be a fault to tell: seconds in which nobody else is served.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from cap_server.errors import BodyTooLargeError

MOST_PARTS = 10_000
MOST_PARTS_OF_BATCH = 50_000
"""A thousand problems with all their fields and 26 options have 40,000."""

# More than any request needs. How deep Python itself reads depends on its version.
_DEEPEST = 500
_BRACKET = re.compile(rb"[\[\]{}]")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_MAYBE_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class JSONRoute(APIRoute):
    """A route whose requests are `JSONRequest`s."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            strict = JSONRequest(request.scope, request.receive)
            most = MOST_PARTS_OF_BATCH if self.path.endswith("/batch") else MOST_PARTS
            check_parts(await strict.body(), most=most)
            return await handler(strict)

        return handle


class JSONRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401  # as Starlette's
        return loads(await self.body())


def check_parts(body: bytes, *, most: int) -> None:
    """Count members and items without reading them.

    Raises:
        BodyTooLargeError: there are too many.
    """
    if sum(map(body.count, b",[{")) > most:
        outside = _STRING.sub(b"", body)
        if sum(map(outside.count, b",[{")) > most:
            raise BodyTooLargeError(f"The body has more than {most} fields and items.")


def loads(body: bytes) -> object:
    """Read JSON in UTF-8.

    Raises:
        ValueError: it is none, or holds what no JSON can.
        RecursionError: it is nested too deep.
    """
    _check_depth(body)
    text = body.decode("utf-8-sig")
    value: object = json.loads(text, parse_constant=_refused, parse_float=_finite)
    if _MAYBE_HALF.search(text):
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _check_depth(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= _DEEPEST:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > _DEEPEST:
            raise RecursionError


def _refused(token: str) -> object:
    raise ValueError(f"{token} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number that is too large")
    return number
