"""Requests that nobody sends by mistake, byte for byte, against a server that really listens.

What is sent stands in `hostile_bodies.py` and `hostile_http.py`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from pydantic import SecretStr

from cap_server.bounded_http import BoundedHTTP
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedChat, ScriptedModel
from tests.ports import listening_socket
from tests.server.benches import tools
from tests.server.conftest import listening_on
from tests.server.hostile_bodies import INVALID, MALFORMED, TAKEN, TOO_MANY, WRONG_TYPES
from tests.server.hostile_http import ANSWERED, REFUSED

JSON = {"Content-Type": "application/json"}
OPENAI = ["/v1/chat/completions", "/v1/responses"]
PATHS = ["/v1/refine", "/v1/refine/batch", "/v1/execute", *OPENAI]
QUESTION = {"question": "x"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    model, sandbox = ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18})
    with listening_on(tools(model, sandbox, chats=[ScriptedChat(["18"])])) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def test_a_body_that_is_no_json_is_refused_and_the_next_request_is_served(
    client: httpx.AsyncClient,
) -> None:
    for name, body in MALFORMED.items():
        for path in PATHS:
            response = await client.post(path, content=body, headers=JSON)
            told = response.json()["error"]
            assert (response.status_code, told["code"]) == (400, "invalid_json"), (name, path)
            assert len(response.content) < 500, name
        assert (await client.post("/v1/refine", json=QUESTION)).status_code == 200, name


async def test_json_that_is_no_request_is_refused_in_few_words(client: httpx.AsyncClient) -> None:
    for name, body in INVALID.items():
        for path in PATHS:
            response = await client.post(path, content=body, headers=JSON)
            told = response.json()["error"]
            status = 400 if path in OPENAI else 422
            assert (response.status_code, told["code"]) == (status, "invalid_value"), (name, path)
            assert len(response.content) < 2000, name
        assert (await client.post("/v1/refine", json=QUESTION)).status_code == 200, name


async def test_json_of_too_many_parts_is_refused_before_it_is_read(
    client: httpx.AsyncClient,
) -> None:
    for name, body in TOO_MANY.items():
        for path in PATHS:
            response = await client.post(path, content=body, headers=JSON)
            told = response.json()["error"]
            assert (response.status_code, told["code"]) == (413, "body_too_large"), (name, path)


async def test_a_client_that_sends_all_before_it_listens_still_hears_that_it_was_too_much(
    client: httpx.AsyncClient,
) -> None:
    for path in PATHS:
        response = await client.post(path, content=b"x" * 12 * 1024**2, headers=JSON)
        told = response.json()["error"]
        assert (response.status_code, told["code"]) == (413, "body_too_large"), path
        packed = {**JSON, "Content-Encoding": "gzip"}
        response = await client.post(path, content=b"x" * 12 * 1024**2, headers=packed)
        assert response.status_code == 415, path


async def test_a_client_that_asks_before_it_sends_is_told_at_once(
    client: httpx.AsyncClient,
) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    head = "POST /v1/refine HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: 9000000\r\nExpect: 100-continue\r\n\r\n".encode())
    async with asyncio.timeout(60):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_json_that_looks_hostile_is_json_like_any_other(client: httpx.AsyncClient) -> None:
    for name, body in TAKEN.items():
        response = await client.post("/v1/refine", content=body, headers=JSON)
        assert (response.status_code, response.json()["answer"]) == (200, "18"), name


async def test_fields_that_go_to_the_model_hold_nothing_that_json_cannot(
    client: httpx.AsyncClient,
) -> None:
    # They have no type of ours; written again for the model's server, they would fail there.
    for value in ("NaN", "1e999", r'"\ud800"', r'{"\ud800": 1}', "[[-Infinity]]"):
        for field in ("logit_bias", "stop", "user", "anything"):
            asked = '{"model": "cap", "messages": [{"role": "user", "content": "x"}], '
            body = f'{asked}"{field}": {value}}}'.encode()
            response = await client.post(OPENAI[0], content=body, headers=JSON)
            assert response.json()["error"]["code"] == "invalid_json", (field, value)


async def test_a_name_that_no_answer_can_repeat_does_not_hold_a_batch_up(
    client: httpx.AsyncClient,
) -> None:
    body = rb'{"problems": [{"question": "x", "custom_id": "\udc00"}]}'
    response = await client.post("/v1/refine/batch", content=body, headers=JSON)
    assert response.status_code == 400


async def test_a_body_that_does_not_say_it_is_json_is_refused(client: httpx.AsyncClient) -> None:
    for content_type in WRONG_TYPES:
        headers = {"Content-Type": content_type} if content_type else {}
        for path in PATHS:
            response = await client.post(path, content=json.dumps(QUESTION), headers=headers)
            assert response.status_code == 415, (content_type, path)
            assert response.json()["error"]["code"] == "unsupported_media_type"


async def test_a_packed_body_is_never_unpacked(client: httpx.AsyncClient) -> None:
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "GZIP"):
        plain = b'{"question": "' + b"x" * 3_000_000 + b'"}'
        packed = {"gzip": gzip.compress(plain), "deflate": zlib.compress(plain)}
        bomb = packed.get(coding, plain)[:500_000]
        headers = {**JSON, "Content-Encoding": coding}
        for path in PATHS:
            response = await client.post(path, content=bomb, headers=headers)
            assert response.status_code == 415, (coding, path)
            assert "Content-Encoding" in response.json()["error"]["message"]


async def test_the_last_of_two_equal_keys_counts_as_in_any_json(client: httpx.AsyncClient) -> None:
    body = b'{"question": "x", "strategy": "pot", "strategy": "single"}'
    response = await client.post("/v1/refine", content=body, headers=JSON)
    assert response.json()["strategy"]["name"] == "single"


async def test_text_may_hold_any_character_that_json_can(client: httpx.AsyncClient) -> None:
    body = {"question": "x\0\x1b[2J\u202e\U0001f600", "cot": "\r\n\0The answer is 18."}
    response = await client.post("/v1/refine", json=body)
    assert response.json()["decision"] == "confirmed"


async def exchange(url: str, sent: bytes, *, until: bytes | None = None) -> bytes:
    """What the server says to `sent` until it closes; or until it has said `until` and closes."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    said = b""
    try:
        async with asyncio.timeout(60):
            writer.write(sent)
            await writer.drain()
            while data := await reader.read(65_536):
                said += data
                if until is not None and re.search(until, said, re.DOTALL):
                    writer.write_eof()
                    until = None
    except OSError:  # it closed while we were still sending: refused, too
        pass
    finally:
        writer.close()
    return said


async def test_broken_http_ends_its_connection_and_answers_no_second_request(
    client: httpx.AsyncClient, url: str
) -> None:
    for name, sent in REFUSED.items():
        said = await exchange(url, sent)
        flood = len(sent) > 100_000 and said == b""  # it closed while we were still sending
        assert said.startswith(b"HTTP/1.1 400 ") or flood, name
        assert flood or b"\r\ncontent-type: text/plain" in said, name
        assert said.count(b"HTTP/1.1 ") <= 1, name
        assert (await client.get("/health")).status_code == 200, name


async def test_odd_http_that_is_right_gets_the_one_answer_that_it_asks_for(
    client: httpx.AsyncClient, url: str
) -> None:
    for name, (sent, status) in ANSWERED.items():
        said = await exchange(url, sent, until=rb"\r\n\r\n.+}$")
        flood = len(sent) > 100_000 and said == b""
        assert said.startswith(b"HTTP/1.1 %d " % status) or flood, name
        assert said.count(b"HTTP/1.1 ") <= 1, name
        assert (await client.get("/health")).status_code == 200, name


async def test_no_page_of_another_origin_is_let_in_by_the_browser(
    client: httpx.AsyncClient,
) -> None:
    # Such a page may not send JSON before the server has agreed to it, which it never does.
    origin = {"Origin": "http://elsewhere.example"}
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, authorization",
        "Access-Control-Request-Private-Network": "true",
    }
    for path in (*PATHS, "/v1/sources", "/health", "/"):
        asked = await client.options(path, headers={**origin, **asks})
        assert asked.status_code == 405, path
        told = await client.post(path, json=QUESTION, headers=origin)
        read = await client.get(path, headers=origin)
        for response in (asked, told, read):
            named = [name for name in response.headers if name.startswith("access-control")]
            assert named == [], path


async def test_no_spelling_of_a_path_leads_past_the_door() -> None:
    settings = Settings(api_keys=SecretStr("a-key"))
    with listening_on(tools(ScriptedModel([""]), FakeSandbox({})), settings) as url:
        for path in (
            b"/v1/sources", b"/%76%31/sources", b"/v1/%73ources", b"//v1/sources", b"/./v1/sources",
            b"/x/../v1/sources", b"/V1/sources", b"/v1;x/sources", b"/v1%2fsources",
            b"/v1/sources/", b"http://other/v1/sources", b"/v1/sources?x", b"/v1\\sources",
            b"/%2576%2531/sources",
        ):  # fmt: skip
            sent = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            said = await exchange(url, sent)
            assert re.match(rb"HTTP/1\.1 (401|404|307) ", said), path
            assert b'"object"' not in said, path


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\r\nHost: cap\r\nX: ", rb"400 .*in time"),
        (b"\r\n", rb"400 .*in time"),
        (b"", rb"400 .*in time"),
        (b"POST /waits HTTP/1.1\r\nHost: cap\r\nContent-Length: 5\r\n\r\n{", rb"400 .*in time"),
        (b"POST /waits HTTP/1.1\r\nHost: cap\r\n" b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
         rb"400 .*in time"),
        (b"POST / HTTP/1.1\r\nHost: cap\r\nContent-Length: 5\r\n\r\n{", rb"200 "),
        (b"POST / HTTP/1.1\r\nHost: cap\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", rb"200 "),
    ],
    ids=[
        "a head", "a line end", "nothing", "a body", "a chunk", "a body that nobody waits for",
        "a chunk that nobody waits for",
    ],
)  # fmt: skip
async def test_what_does_not_come_to_its_end_is_not_waited_for_for_ever(
    sent: bytes, said: bytes
) -> None:
    class _Impatient(BoundedHTTP):
        longest_head_s = longest_body_s = 0.05

    app = FastAPI()

    @app.post("/")
    async def answers() -> str:
        return "answered before the body was there"

    @app.post("/waits")
    async def waits(request: Request) -> str:
        return (await request.body()).decode()

    config = uvicorn.Config(
        app, log_config=None, http=_Impatient, lifespan="off", timeout_keep_alive=600
    )
    server = uvicorn.Server(config)
    with listening_socket() as listener:
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        host, port = listener.getsockname()
        answered = await exchange(f"http://{host}:{port}", sent)
        server.should_exit = True
        await serving
    assert re.match(rb"HTTP/1\.1 " + said, answered, re.DOTALL)
