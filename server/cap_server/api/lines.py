"""Lines of JSON: sent as they come, with blank ones while nothing does, until the reader leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cap_server.api.event_stream import HEARTBEAT_S, closed, next_of, sent
from cap_server.api.gone import disconnected
from cap_server.errors import CapError

_LONGEST_SEND_S = 600.0
"""A reader that takes nothing for so long is gone. Until then it holds up what it reads of."""

_BLANK = b"\n"

_log = structlog.get_logger(__name__)

Lines = AsyncGenerator[bytes, None]


class LinesResponse(Response):
    """Sends `lines`; `left` is awaited in the end, whatever that is."""

    media_type = "application/x-ndjson"

    def __init__(
        self,
        lines: Lines,
        *,
        left: Callable[[], Awaitable[None]],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._lines = lines
        self._left = left
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.ensure_future(disconnected(receive))
        sending = asyncio.ensure_future(self._send_all(send))
        try:
            await asyncio.wait({leaving, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.gather(leaving, sending, return_exceptions=True)
            await self._left()
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error

    async def _send_all(self, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        async with aclosing(_with_blanks(self._lines, self._heartbeat_s)) as lines:
            async for line in lines:
                try:
                    async with asyncio.timeout(_LONGEST_SEND_S):
                        await sent(send, line, more=True)
                except TimeoutError:
                    _log.info("reader_too_slow")
                    return
        await sent(send, b"", more=False)


async def _with_blanks(lines: Lines, silence_s: float) -> Lines:
    """`lines`, and a blank one after each silence. An error of ours ends them: the head is sent."""
    pending: asyncio.Future[bytes | None] = asyncio.ensure_future(next_of(lines))
    try:
        while True:
            await asyncio.wait({pending}, timeout=silence_s)
            if not pending.done():
                yield _BLANK
                continue
            line = pending.result()
            if line is None:
                return
            pending = asyncio.ensure_future(next_of(lines))
            yield line
    except CapError as error:
        _log.warning("lines_broke_off", code=error.code)
    finally:
        await closed(lines, pending)
