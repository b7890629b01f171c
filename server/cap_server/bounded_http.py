"""HTTP/1.1 as uvicorn reads it, with a bound on a request's head: its bytes, and its time.

uvicorn bounds neither with httptools: whoever reaches the port could send headers for ever, and
have them kept. Bodies are bounded in `api/body_limit.py`.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024
LONGEST_HEAD_S = 30.0


class BoundedHTTP(HttpToolsProtocol):
    """Closes a connection whose next head is too large, or does not come to its end in time.

    Attributes:
        longest_head_s: from the connection or a head's first byte to its end.
    """

    longest_head_s = LONGEST_HEAD_S
    _head_bytes: int | None = None
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._begin_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes is None or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse("The head of the request is too large.")

    def _begin_head(self) -> None:
        self._head_bytes = 0
        if self._head_timer is None:
            late = "The head of the request did not arrive in time."
            self._head_timer = self.loop.call_later(self.longest_head_s, self._refuse, late)

    def _end_head(self) -> None:
        self._head_bytes = None
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, why: str) -> None:
        self._end_head()
        if not self.transport.is_closing():
            self.send_400_response(why)
