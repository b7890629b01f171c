"""Every request, counted when its answer has ended, and its span."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cap_server.observing.account import current_account
from cap_server.observing.metrics import Metrics
from cap_server.observing.traces import NO_SPAN, Span, Traces

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
OF_OPERATORS = frozenset({"/health", "/ready", "/metrics"})
"""Asked by machines all day: they would hide how busy the server is."""

_CLIENT_LEFT = 499


class ObservedRequests:
    """ASGI middleware. Within `AccessLog`, whose account it reads."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, traces: Traces) -> None:
        self._app = app
        self._metrics = metrics
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in OF_OPERATORS:
            await self._counted(scope, receive, send, span=NO_SPAN)
            return
        with (
            self._metrics.in_flight.track_inprogress(),
            self._traces.request(scope["headers"]) as span,
        ):
            await self._counted(scope, receive, send, span=span)

    async def _counted(self, scope: Scope, receive: Receive, send: Send, *, span: Span) -> None:
        started, status = time.perf_counter(), 500

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except asyncio.CancelledError:
            status = _CLIENT_LEFT
            raise
        finally:
            self._ended(scope, status=status, wall_s=time.perf_counter() - started, span=span)

    def _ended(self, scope: Scope, *, status: int, wall_s: float, span: Span) -> None:
        route, method, account = _route(scope), _method(scope), current_account()
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.request_s.labels(route).observe(wall_s)
        if account.error is not None:
            self._metrics.errors.labels(account.error).inc()
        span.name(f"{method} {route}")
        span.set(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "cap.strategy": account.strategy,
                "cap.decision": ",".join(sorted(account.decisions)) or None,
                "error.type": account.error,
            }
        )


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else _OTHER


def _route(scope: Scope) -> str:
    """The path as the server declares it; whatever else was asked for is `other`."""
    return str(getattr(scope.get("route"), "path", _OTHER))
