"""One line in the log for every request, and an id that ties it to the answer.

The line tells what the request came to and what it cost, who sent it (the id
of the key), and nothing of what was sent.
"""

from __future__ import annotations

import time
import uuid

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cap_server.observing import OF_OPERATORS, opened_account

_log = structlog.get_logger(__name__)


class AccessLog:
    """ASGI middleware. Logs no query, no body and no header: they may hold secrets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        started, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            opened_account() as account,
        ):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                # Probes and scrapes that went well would be most of the log.
                quiet = scope["path"] in OF_OPERATORS and status < 400
                (_log.debug if quiet else _log.info)(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    wall_s=round(time.perf_counter() - started, 4),
                    **account.facts(),
                )
