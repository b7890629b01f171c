"""Slow-loris: requests that come drop by drop, over real sockets, beside those of other people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import httpx
import pytest

from cap_server.api.body_limit import LONGEST_BODY_S, BodyLimit
from cap_server.app import create_app
from cap_server.bounded_http import LONGEST_BODY_S as LONGEST_UNREAD_BODY_S
from cap_server.bounded_http import BoundedHTTP
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import listening

_LONGEST_S = 2.0
_AT_ONCE = 20
_GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
_POST = b"POST /v1/refine HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

BODIES = {
    "with its length": (_POST + b"Content-Length: 400000\r\n\r\n", b" "),
    "in chunks": (_POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "of a length that is refused": (_POST + b"Content-Length: 40000000\r\n\r\n", b" "),
    "after a request that was quick": (
        _GET + b"\r\n" + _POST + b"Content-Length: 99\r\n\r\n",
        b" ",
    ),
}
HEADS = {
    "of many headers": (_GET, b"X: y\r\n"),
    "of one header": (_GET + b"X: ", b"y"),
    "of a path": (b"GET /", b"a"),
    "of a request with a body": (_POST, b"X: y\r\n"),
    "after a request that was quick": (_GET + b"\r\n" + _GET, b"X: y\r\n"),
}


@asynccontextmanager
async def hurried() -> AsyncIterator[str]:
    """The URL of the whole app with all that stands before it, which waits less than outside."""

    class _Hurried(BoundedHTTP):
        longest_head_s = _LONGEST_S
        longest_body_s = 2 * _LONGEST_S

    given = tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))
    settings = Settings()
    app = create_app(settings, tools=nullcontext(given))
    limited = BodyLimit(app, most_bytes=settings.max_body_bytes, longest_s=_LONGEST_S)
    async with listening(limited, http=_Hurried) as url:
        yield url


async def dripped(url: str, opening: bytes, drop: bytes) -> bytes:
    """What the server says until it closes to `opening` and a `drop` now and then."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    said = bytearray()

    async def read() -> None:
        while data := await reader.read(65_536):
            said.extend(data)

    writer.write(opening)
    reading = asyncio.ensure_future(read())
    async with asyncio.timeout(60):
        while not reading.done():
            writer.write(drop)
            await asyncio.wait([reading], timeout=_LONGEST_S / 40)
    # A drop that met a closed connection resets it.
    assert isinstance(reading.exception(), ConnectionResetError | None)
    writer.close()
    return bytes(said)


async def _beside(url: str, slow: dict[str, tuple[bytes, bytes]]) -> list[tuple[str, bytes, float]]:
    """What each of many `slow` requests was told and when, while others are served."""
    clock = asyncio.get_running_loop().time

    async def timed(name: str) -> tuple[str, bytes, float]:
        began = clock()
        said = await dripped(url, *slow[name])
        return name, said, clock() - began

    dripping = asyncio.gather(*(timed(name) for name in slow for _ in range(_AT_ONCE)))
    await asyncio.sleep(_LONGEST_S / 10)
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        served = await client.post("/v1/refine", json={"question": "6 * 3?"})
        assert not dripping.done(), "it was served meanwhile, not afterwards"
        assert (served.status_code, served.json()["answer"]) == (200, "18")
        told = await dripping
        assert (await client.post("/v1/refine", json={"question": "6 * 3?"})).status_code == 200
    return told


async def test_a_body_that_drips_in_is_told_so_and_holds_up_nobody() -> None:
    async with hurried() as url:
        for name, said, after_s in await _beside(url, BODIES):
            last = said.removeprefix(said[: said.rfind(b"HTTP/1.1 ")])
            head, _, body = last.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 "), name
            assert b"\r\nconnection: close" in head.lower(), name
            assert json.loads(body)["error"]["code"] == "slow_body", name
            assert after_s >= _LONGEST_S, name


async def test_a_head_that_drips_in_is_not_waited_for_and_holds_up_nobody() -> None:
    async with hurried() as url:
        for name, said, after_s in await _beside(url, HEADS):
            last = said.removeprefix(said[: said.rfind(b"HTTP/1.1 ")])
            assert last.startswith(b"HTTP/1.1 400 "), name
            assert last.endswith(b"The head of the request did not arrive in time."), name
            assert after_s >= _LONGEST_S, name


def test_who_is_slow_is_told_so_before_the_connection_is_closed() -> None:
    assert pytest.approx(30) == LONGEST_BODY_S == BoundedHTTP.longest_head_s
    assert LONGEST_UNREAD_BODY_S > LONGEST_BODY_S
