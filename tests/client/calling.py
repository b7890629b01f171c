"""Both clients under one test: what is asked of one is asked of the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal

from cap_client import AsyncClient, AsyncStream, Client, Retries, Stream
from tests.server.upstreams import Respond

Kind = Literal["sync", "async"]

AT_ONCE = Retries(first_s=0)
"""Retries that do not wait unless the server asks for it."""


async def called(kind: Kind, url: str, do: Callable[[Any], Any], **settings: Any) -> Any:  # noqa: ANN401
    """What `do` makes of a client of that kind: a result, or a stream's items."""
    settings = {"retries": AT_ONCE, **settings}
    if kind == "sync":
        return await asyncio.to_thread(_called, url, do, settings)
    async with AsyncClient(url, **settings) as client:
        doing = do(client)
        if isinstance(doing, AsyncStream):
            return [each async for each in doing]
        return await doing


def _called(url: str, do: Callable[[Any], Any], settings: dict[str, Any]) -> object:
    with Client(url, **settings) as client:
        done = do(client)
        return list(done) if isinstance(done, Stream) else done


def sends(
    body: str | bytes, *, status: str = "200 OK", headers: str = "", short_of: int = 0
) -> Respond:
    """A response on a connection that is then closed, `short_of` so many bytes it promised."""
    content = body.encode() if isinstance(body, str) else body
    length = f"Content-Length: {len(content) + short_of}\r\n"
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\n{length}{headers}\r\n"

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + content)
        await writer.drain()

    return respond


def refuses(status: str, *, headers: str = "", **fault: str | None) -> Respond:
    """An error as the server shapes it."""
    whole = {"message": "no", "type": "server_error", "param": None, "code": "refused", **fault}
    return sends(json.dumps({"error": whole}), status=status, headers=headers)


def server_sent(*events: tuple[str, object], done: bool = True) -> str:
    """An event stream, with a heartbeat before each event."""
    text = "".join(f": heartbeat\n\nevent: {n}\ndata: {json.dumps(d)}\n\n" for n, d in events)
    return text + ("data: [DONE]\n\n" if done else "")
