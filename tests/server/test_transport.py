"""Connections to models' servers: kept, bounded in number, and closed by whoever leaves early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from cap_server.adapters.transport import AiohttpTransport
from tests.server.upstreams import breaks_off, completes, hangs, upstream


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[str, list[int]]]:
    """A server that keeps connections, and a list with an entry for each that there ever was."""
    seen: list[int] = []
    handlers: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(len(seen))
        handlers.add(asyncio.ensure_future(serve(reader, writer)))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
        await asyncio.gather(*handlers)


async def test_a_connection_is_used_again() -> None:
    async with counting() as (url, seen):
        async with httpx.AsyncClient(transport=AiohttpTransport(connections=8)) as client:
            for _ in range(5):
                assert (await client.get(url)).text == "x"
        assert len(seen) == 1


async def test_there_are_no_more_connections_than_were_granted() -> None:
    async with counting() as (url, seen):
        async with httpx.AsyncClient(transport=AiohttpTransport(connections=3)) as client:
            got = await asyncio.gather(*(client.get(url) for _ in range(30)))
        assert [each.status_code for each in got] == [200] * 30
        assert len(seen) <= 3


async def test_who_waits_too_long_for_a_place_is_told() -> None:
    timeout = httpx.Timeout(60, pool=0.1)
    async with (
        upstream(hangs) as server,
        httpx.AsyncClient(transport=AiohttpTransport(connections=1), timeout=timeout) as client,
        client.stream("GET", server.url),
    ):
        with pytest.raises(httpx.PoolTimeout):
            await client.get(server.url)


async def test_a_place_is_free_again_after_every_kind_of_end() -> None:
    async with (
        upstream(breaks_off, hangs, hangs, completes("x")) as server,
        httpx.AsyncClient(transport=AiohttpTransport(connections=1), timeout=60) as client,
    ):
        with pytest.raises(httpx.HTTPError):
            await client.get(server.url)
        async with client.stream("GET", server.url):  # left before its end
            pass
        asking = asyncio.ensure_future(client.get(server.url))
        async with asyncio.timeout(60):
            while len(server.headers) < 3:  # noqa: ASYNC110  # the socket has no event
                await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert (await client.get(server.url)).status_code == 200
