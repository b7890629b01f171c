"""Requests that nobody sends by mistake, byte for byte, against a server that really listens."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from cap_server.bounded_http import BoundedHTTP
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.ports import listening_socket
from tests.server.benches import tools
from tests.server.conftest import listening_on

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    given = tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))
    with listening_on(given) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            yield client


BODIES = {
    "deep arrays": b'{"question": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep objects": b'{"question":' * 30_000 + b"1" + b"}" * 30_000,
    "deep in a free field": b'{"model": "cap", "messages": [], "x": '
    + b"[" * 5000
    + b"]" * 5000
    + b"}",
    "huge integer": b'{"question": "x", "sampling": {"seed": ' + b"9" * 100_000 + b"}}",
    "huge exponent": b'{"question": "x", "budget": {"deadline_s": 1e999999}}',
    "NaN": b'{"question": "x", "sampling": {"temperature": NaN}}',
    "lone surrogate": b'{"question": "\\ud800"}',
    "overlong UTF-8": b'{"question": "\xc0\xaf"}',
    "two values": b'{"question": "x"}{"question": "y"}',
    "no value": b"",
    "NUL outside": b'\x00{"question": "x"}',
    "gzip": gzip.compress(b'{"question": "x"}'),
}


@pytest.mark.parametrize("path", ["/v1/refine", "/v1/chat/completions", "/v1/refine/batch"])
@pytest.mark.parametrize("name", BODIES)
async def test_a_hostile_body_is_refused_and_the_next_request_is_served(
    client: httpx.AsyncClient, path: str, name: str
) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"} if name == "gzip" else JSON
    response = await client.post(path, content=BODIES[name], headers=headers)
    assert response.status_code in (400, 413, 415, 422)
    assert len(response.content) < 2000
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert (await client.post("/v1/refine", json={"question": "x"})).status_code == 200


async def test_the_last_of_two_equal_keys_counts_as_in_any_json(client: httpx.AsyncClient) -> None:
    body = b'{"question": "x", "strategy": "pot", "strategy": "single"}'
    response = await client.post("/v1/refine", content=body, headers=JSON)
    assert response.json()["strategy"]["name"] == "single"


async def test_text_may_hold_any_character_that_json_can(client: httpx.AsyncClient) -> None:
    body = {"question": "x\0\x1b[2J\u202e\U0001f600", "cot": "\r\n\0The answer is 18."}
    response = await client.post("/v1/refine", json=body)
    assert response.json()["decision"] == "confirmed"


async def exchange(client: httpx.AsyncClient, sent: bytes) -> bytes:
    """What the server says to `sent` until it closes or waits for more."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        writer.write(sent)
        await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(30):
            return await reader.read()
    except ConnectionError:  # it closed while we were still sending: refused, too
        return b""
    finally:
        writer.close()


BODY = json.dumps({"question": "x"}).encode()
POST = b"POST /v1/refine HTTP/1.1\r\nHost: cap\r\nContent-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /v1/sources HTTP/1.1\r\nHost: cap\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Content-Length: 2\r\nContent-Length: 17\r\n\r\n" + BODY,
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Content-Length: -1\r\n\r\n" + BODY,
        POST + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY,
        POST + CHUNKED + b"\r\nFFFFFFFFFFFFFFFFF\r\n" + BODY,
        b"GET / HTTP/1.1\r\nHost: cap\r\n" + b"X: y\r\n" * 200_000 + b"\r\n",
        b"GET /" + b"a" * 5_000_000 + b" HTTP/1.1\r\nHost: cap\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50,
        b"\r\n" * 10_000,
    ],
    ids=[
        "two lengths", "length and chunks", "two encodings", "space before the colon",
        "negative length", "length beyond all numbers", "chunk beyond all numbers",
        "a flood of headers", "a path of megabytes", "TLS", "nothing but line ends",
    ],
)  # fmt: skip
async def test_broken_http_answers_no_second_request_and_ends_nothing(
    client: httpx.AsyncClient, sent: bytes
) -> None:
    said = await exchange(client, sent)
    assert not re.search(rb"HTTP/1\.1 2\d\d", said)
    assert b'"object":"list"' not in said.replace(b" ", b""), "the smuggled request was answered"
    assert (await client.get("/health")).status_code == 200


async def test_a_head_that_does_not_come_to_its_end_is_not_waited_for_for_ever() -> None:
    class _Impatient(BoundedHTTP):
        longest_head_s = 0.05

    config = uvicorn.Config(FastAPI(), log_config=None, http=_Impatient, lifespan="off")
    server = uvicorn.Server(config)
    with listening_socket() as listener:
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: cap\r\nX: ")
        async with asyncio.timeout(30):
            said = await reader.read()
        writer.close()
        server.should_exit = True
        await serving
    assert said.startswith(b"HTTP/1.1 400")
    assert b"in time" in said
