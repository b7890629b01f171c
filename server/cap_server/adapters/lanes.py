"""A transport for many requests at once: each connection is a pool of its own, the last used first.

httpcore's pool looks at all its connections, and polls the sockets of the idle ones, whenever a
request begins or ends: with 64 under way that was 39 % of what the server did.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

_KEPT_S = 2.0
"""How long a connection is kept that nobody uses. uvicorn, and vLLM with it, closes those after
5 s: a request that is sent at that moment is lost, and may not be sent again, for all one knows."""

Origin = tuple[str, str, int | None]
Release = Callable[[bool], Awaitable[None]]
"""Told whether the connection may be used again."""


class Lanes(httpx.AsyncBaseTransport):
    """Args: connections: at once, used and idle ones; more requests wait for a place."""

    def __init__(self, *, connections: int) -> None:
        self._ssl = httpx.create_ssl_context()
        self._places = asyncio.Semaphore(connections)
        self._idle: dict[Origin, deque[tuple[httpx.AsyncHTTPTransport, float]]] = defaultdict(deque)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._place(request)
        origin = (request.url.scheme, request.url.host, request.url.port)
        idle = self._idle[origin]
        lane = idle.pop()[0] if idle else self._lane()

        async def release(whole: bool) -> None:
            self._places.release()
            if whole:
                idle.append((lane, time.monotonic()))
                await self._close_old(idle)
            else:
                await lane.aclose()

        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            await release(False)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(response.stream, release)
        return response

    async def aclose(self) -> None:
        for idle in self._idle.values():
            while idle:
                await idle.pop()[0].aclose()

    async def _place(self, request: httpx.Request) -> None:
        longest_s = request.extensions.get("timeout", {}).get("pool")
        try:
            async with asyncio.timeout(longest_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("too many requests under way", request=request) from error

    def _lane(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(
            max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEPT_S
        )
        return httpx.AsyncHTTPTransport(verify=self._ssl, limits=limits)

    async def _close_old(self, idle: deque[tuple[httpx.AsyncHTTPTransport, float]]) -> None:
        while idle and idle[0][1] < time.monotonic() - _KEPT_S:
            await idle.popleft()[0].aclose()


class _Body(httpx.AsyncByteStream):
    """A body whose connection is released once."""

    def __init__(self, body: httpx.AsyncByteStream, release: Release) -> None:
        self._body = body
        self._release: Release | None = release
        self._whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            yield chunk
        self._whole = True

    async def aclose(self) -> None:
        release, self._release = self._release, None
        if release is None:
            return
        try:
            await self._body.aclose()
        finally:
            await release(self._whole)
