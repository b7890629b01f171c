"""Server-sent events: sent as they happen, ended when the reader leaves or stops reading.

Source: the WHATWG HTML standard, section 9.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import structlog
from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cap_server.api.errors import INTERNAL, error_out
from cap_server.api.gone import cut_off, disconnected, unless_gone
from cap_server.ending import cut_off_error
from cap_server.errors import CapError

HEARTBEAT_S = 10.0
"""Silence after which a comment is sent: proxies cut connections that say nothing."""

_LONGEST_SEND_S = 30.0
"""A reader that takes nothing for so long is gone: its connection's buffer would be held for it."""

EVENT_SCHEMA = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "description": "JSON, or [DONE] in the last event."},
    },
    "required": ["data"],
}
"""One event, for the documentation of routes."""


def documented_stream(description: str) -> dict[int | str, dict[str, Any]]:
    """A route's answer with status 200 where it may be a stream, for its documentation."""
    content = {"text/event-stream": {"schema": EVENT_SCHEMA}}
    return {200: {"description": description, "content": content}}


DONE = b"data: [DONE]\n\n"
_HEARTBEAT = b": heartbeat\n\n"

_log = structlog.get_logger(__name__)

Frames = AsyncGenerator[bytes, None]


def frame(data: BaseModel, *, event: str | None = None) -> bytes:
    """One event. JSON holds no line breaks, so that `data` is one line."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {data.model_dump_json()}\n\n".encode()


async def event_stream(
    request: Request,
    frames: Frames,
    *,
    error_event: str | None = None,
    end: bytes = DONE,
    heartbeat_s: float = HEARTBEAT_S,
) -> Response:
    """The response that sends `frames`, and after them `end`.

    The head is sent with the first frame, or after a heartbeat's time without one: what fails
    before is an ordinary error with its own status.

    Args:
        request: whose reader's leaving closes `frames`.
        frames: closed in the end, whatever happens.
        error_event: the name of the event that tells of an error after the head was sent.
        end: sent last; empty where the frames have their own end.
        heartbeat_s: silence after which a comment is sent.

    Raises:
        CapError: what `frames` raised before its first frame.
        ClientGoneError: the reader left before.
        EndingError: the server ended before. Later, it is told as an error in the stream.
    """
    first = asyncio.ensure_future(next_of(frames))
    try:
        await unless_gone(request, _settled(first, heartbeat_s))
        if first.done():
            first.result()
    except BaseException:
        await closed(frames, first)
        raise
    return _EventStream(
        frames,
        first,
        cut=cut_off(request),
        error_event=error_event,
        end=end,
        silence=heartbeat_s,
    )


class _EventStream(Response):
    media_type = "text/event-stream"

    def __init__(
        self,
        frames: Frames,
        first: asyncio.Future[bytes | None],
        *,
        cut: set[asyncio.Future[None]],
        error_event: str | None,
        end: bytes,
        silence: float,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames
        self._next = first
        self._cut = cut
        self._error_event = error_event
        self._end = end
        self._silence = silence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        leaving = asyncio.ensure_future(disconnected(receive))
        try:
            await send({"type": "http.response.start", **start})
            await self._send_all(send, leaving)
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            await closed(self._frames, self._next)

    async def _send_all(self, send: Send, leaving: asyncio.Future[None]) -> None:
        while not leaving.done():
            either: set[asyncio.Future[Any]] = {self._next, leaving, *self._cut}
            await asyncio.wait(either, timeout=self._silence, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                return
            if any(each.done() for each in self._cut):
                await self._cut_off()
            chunk = self._taken() if self._next.done() else _HEARTBEAT
            try:
                async with asyncio.timeout(_LONGEST_SEND_S):
                    await sent(send, chunk or self._end, more=chunk is not None)
            except TimeoutError:
                _log.info("reader_too_slow")
                return
            if chunk is None:
                return

    async def _cut_off(self) -> None:
        """What comes next, and last, is the error that says why."""
        self._cut = set()
        await closed(self._frames, self._next)
        self._next = asyncio.get_running_loop().create_future()
        self._next.set_exception(cut_off_error())

    def _taken(self) -> bytes | None:
        """The next frame, and the one after it is asked for; None when there are no more."""
        try:
            chunk = self._next.result()
        except CapError as error:
            failed = error
        except Exception as error:  # noqa: BLE001  the boundary: the head is sent, none is told else
            _log.error("fault", exc_info=error)
            failed = CapError(INTERNAL)
        else:
            if chunk is not None:
                self._next = asyncio.ensure_future(next_of(self._frames))
            return chunk
        self._next = asyncio.ensure_future(_nothing())
        return frame(error_out(failed), event=self._error_event)


async def next_of(frames: Frames) -> bytes | None:
    return await anext(frames, None)


async def closed(frames: Frames, pending: asyncio.Future[bytes | None]) -> None:
    """End `frames`; a generator that is still asked for its next value cannot be closed."""
    pending.cancel()
    await asyncio.gather(pending, return_exceptions=True)
    await frames.aclose()


async def sent(send: Send, chunk: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": more})


async def _settled(future: asyncio.Future[bytes | None], timeout_s: float) -> None:
    await asyncio.wait({future}, timeout=timeout_s)


async def _nothing() -> None:
    return None
