"""httpx's requests, carried by aiohttp.

httpx says what a request and its failures are, and the rest of the house speaks its language.
Underneath, its own transport took half of all the CPU time that a refinement cost; aiohttp, whose
parser is compiled, takes a third of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import aiohttp
import httpx

_KEPT_S = 2.0
"""How long a connection is kept that nobody uses. uvicorn, and vLLM with it, closes those after
5 s: a request that is sent at that moment is lost, and may not be sent again, for all one knows."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Args: connections: in use at once; more requests wait for a place."""

    def __init__(self, *, connections: int) -> None:
        self._ssl = httpx.create_ssl_context()
        self._places = asyncio.Semaphore(connections)
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeout = request.extensions.get("timeout", {})
        content = await request.aread()
        await self._place(request, longest_s=timeout.get("pool"))
        try:
            with _as_httpx(request):
                response = await self._opened().request(
                    request.method,
                    _bare(request.url),
                    headers=request.headers,
                    data=content or None,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        sock_connect=timeout.get("connect"), sock_read=timeout.get("read")
                    ),
                )
        except BaseException:
            self._places.release()
            raise
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(request, response, self._places.release),
            request=request,
        )

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        """Made with the first request: aiohttp wants a running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl, keepalive_timeout=_KEPT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # httpx does that
            )
        return self._session

    async def _place(self, request: httpx.Request, *, longest_s: float | None) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(longest_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("too many requests under way", request=request) from error


class _Body(httpx.AsyncByteStream):
    """A body whose place is given back once; one not read to its end ends its connection."""

    def __init__(
        self, request: httpx.Request, response: aiohttp.ClientResponse, release: Callable[[], None]
    ) -> None:
        self._request = request
        self._response = response
        self._release: Callable[[], None] | None = release

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx(self._request):
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            self._response.close()  # where the end was read, the connection is kept already
            release()


def _bare(url: httpx.URL) -> str:
    """Without credentials, of which httpx has made a header; aiohttp would make a second one."""
    return str(url.copy_with(userinfo=b"") if url.userinfo else url)


@contextmanager
def _as_httpx(request: httpx.Request) -> Iterator[None]:
    """What went wrong, as httpx names it: what never left is told from what broke off."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error), request=request) from error
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error), request=request) from error
    except aiohttp.SocketTimeoutError as error:
        raise httpx.ReadTimeout(str(error), request=request) from error
    except aiohttp.InvalidURL as error:
        raise httpx.UnsupportedProtocol(str(error), request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from error
