"""Whatever a sandbox's service does wrong is an error of ours, or is tried once more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog

from cap_sandbox.wire import encode_execution
from cap_server.adapters.remote_sandbox import RemoteSandbox, sandbox_client
from cap_server.domain import Execution, Limits, Value
from cap_server.errors import SandboxUnavailableError

FINE = json.dumps(encode_execution(Execution("ok", Value("int", "42"))))


def http(status: str, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body.encode())}", *headers, "", body]
    return "\r\n".join(lines).encode()


@asynccontextmanager
async def answering(
    *answers: bytes, heads: list[bytes] | None = None
) -> AsyncIterator[RemoteSandbox]:
    """A sandbox whose service answers each connection with the next of `answers`, and closes it.

    Args:
        answers: whole responses.
        heads: where the heads of its requests are noted.
    """
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heads is not None:
            heads.append(head.lower())
        writer.write(left.pop(0) if left else b"")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, sandbox_client(f"http://127.0.0.1:{port}", connections=2) as client:
        yield RemoteSandbox(client)


FAULTS = [
    http("200 OK", "no JSON"),
    http("200 OK", "[" * 100_000),
    http("200 OK", "{}"),
    http("200 OK", FINE.replace('"42"', '"forty-two"')),
    http("200 OK", FINE.replace('"ok"', '"fine"')),
    http("200 OK", FINE.replace('"ok"', '"error"')),
    http("200 OK", FINE.replace('"cpu_s": 0.0', '"cpu_s": NaN')),
    http("200 OK", "x" * 10_000_000),
    http("302 Found", "", "Location: http://127.0.0.1:1/"),
    http("401 Unauthorized", "who?"),
    http("422 Unprocessable", "{}"),
    http("500 Oops", "{}"),
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    b"\x16\x03\x01",
    b"",
]


@pytest.mark.parametrize("answer", FAULTS)
async def test_every_fault_of_the_service_is_an_error_of_ours(answer: bytes) -> None:
    async with answering(answer, answer) as sandbox:
        with pytest.raises(SandboxUnavailableError) as caught:
            await sandbox.execute("answer = 42", limits=Limits())
    assert caught.value.retry_after_s == 5
    async with answering(answer, answer) as sandbox:
        with pytest.raises(SandboxUnavailableError):
            await sandbox.check()


async def test_the_service_is_told_which_request_a_program_belongs_to() -> None:
    heads: list[bytes] = []
    async with answering(http("200 OK", FINE), http("200 OK", FINE), heads=heads) as sandbox:
        with structlog.contextvars.bound_contextvars(request_id="req_1"):
            await asyncio.create_task(sandbox.execute("answer = 42", limits=Limits()))
        await sandbox.execute("answer = 42", limits=Limits())
    assert [b"x-request-id: req_1\r\n" in head for head in heads] == [True, False]


async def test_a_full_queue_passes_on_when_to_come_back() -> None:
    async with answering(http("503 Busy", "{}", "Retry-After: 7")) as sandbox:
        with pytest.raises(SandboxUnavailableError) as caught:
            await sandbox.execute("answer = 42", limits=Limits())
    assert caught.value.retry_after_s == 7


async def test_a_program_that_got_lost_runs_again() -> None:
    async with answering(b"", http("200 OK", FINE)) as sandbox:
        execution = await sandbox.execute("answer = 42", limits=Limits())
    assert execution.value == Value("int", "42")
