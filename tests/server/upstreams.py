"""An upstream on a real socket that answers what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Upstream:
    """Attributes: bodies: the JSON of every POST; gone: set when a client closes early."""

    url: str = ""
    bodies: list[dict[str, object]] = field(default_factory=list)
    headers: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


def answers(status: str, body: str | bytes, *, headers: str = "") -> Respond:
    """A whole response."""
    content = body.encode() if isinstance(body, str) else body

    async def respond(writer: asyncio.StreamWriter) -> None:
        length = f"Content-Length: {len(content)}"
        head = f"HTTP/1.1 {status}\r\n{length}\r\nConnection: close\r\n{headers}\r\n"
        writer.write(head.encode() + content)
        await writer.drain()

    return respond


def completes(content: str | None, *, finish_reason: str = "stop") -> Respond:
    """A chat completion."""
    choice = {"index": 0, "message": {"content": content}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    return answers("200 OK", json.dumps({"choices": [choice], "usage": usage}))


def refuses(status: str, *, message: str = "", param: str | None = None) -> Respond:
    """An error as OpenAI's API shapes it."""
    return answers(status, json.dumps({"error": {"message": message, "param": param}}))


async def breaks_off(writer: asyncio.StreamWriter) -> None:
    """Half a response, then the end."""
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"choices": [')
    await writer.drain()


async def hangs(writer: asyncio.StreamWriter) -> None:
    """The headers, then nothing."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(60)


@asynccontextmanager
async def upstream(*script: Respond) -> AsyncIterator[Upstream]:
    """Serve `script[i]` to request i, the last entry to all that follow; one a connection."""
    seen = Upstream()
    remaining = list(script)
    handlers: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.ensure_future(handle(reader, writer)))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.headers.append(head)
        if head.startswith(b"POST"):
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            seen.bodies.append(json.loads(await reader.readexactly(length)))
        respond = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        answering = asyncio.ensure_future(respond(writer))
        leaving = asyncio.ensure_future(reader.read())
        await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            seen.gone.set()
        answering.cancel()
        leaving.cancel()
        writer.close()
        await asyncio.gather(answering, leaving, writer.wait_closed(), return_exceptions=True)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield seen
        await asyncio.gather(*handlers)
