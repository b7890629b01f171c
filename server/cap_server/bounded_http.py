"""HTTP/1.1 as uvicorn reads it, with bounds on what comes before and around a request's body.

uvicorn bounds none of it with httptools: whoever reaches the port could send headers for ever, and
have them kept, or trailers after the body, or chunks that are all extension and no content. Bodies
themselves are bounded in `api/body_limit.py`; here, in time, those that nobody reads because their
request was answered already.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024
LONGEST_HEAD_S = 30.0
LONGEST_BODY_S = 60.0
"""Twice what `BodyLimit` waits: whoever is slow is told so before the connection is closed."""

_MOST_FRAMING = 8
"""Bytes of framing for a byte of body: a chunk of one byte has five."""


class _RefusedError(Exception):
    """Within the parser's callbacks: uvicorn answers it as what is no HTTP, with 400."""


class BoundedHTTP(HttpToolsProtocol):
    """Closes a connection whose next head or body is too large, or does not end in time.

    Attributes:
        longest_head_s: from the connection or a head's first byte to its end.
        longest_body_s: from there to the end of the body.
    """

    longest_head_s = LONGEST_HEAD_S
    longest_body_s = LONGEST_BODY_S
    _head_bytes: int | None = None
    _timer: asyncio.TimerHandle | None = None
    _in_body = False
    _body_bytes = 0
    _framing_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._begin_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop()
        self._check_head()
        self._in_body, self._body_bytes, self._framing_bytes = True, 0, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop()
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        in_body, had = self._in_body, self._body_bytes
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse("The head of the request is too large.")
        elif self._in_body:
            self._wait_for_the_body()
            if in_body:  # else a head was in `data` too
                self._count_framing(len(data) - (self._body_bytes - had))

    def _check_head(self) -> None:
        """Refuse what is too large, and what RFC 9112 (3.2, 6.1) has servers refuse."""
        # What came in one piece with its end was not counted on its way.
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MOST_HEAD_BYTES:
            raise _RefusedError
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            raise _RefusedError
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if codings and [each.strip().lower() for each in codings] != [b"chunked"]:
            raise _RefusedError

    def _count_framing(self, more: int) -> None:
        self._framing_bytes += max(0, more)
        if self._framing_bytes > MOST_HEAD_BYTES + _MOST_FRAMING * self._body_bytes:
            self._refuse("There is too much around the body of the request.")

    def _begin_head(self) -> None:
        self._in_body = False
        self._head_bytes = 0
        if self._timer is None:
            late = "The head of the request did not arrive in time."
            self._timer = self.loop.call_later(self.longest_head_s, self._refuse, late)

    def _wait_for_the_body(self) -> None:
        # Most bodies came with their heads; these need no timer.
        if self._timer is None:
            late = "The body of the request did not arrive in time."
            self._timer = self.loop.call_later(self.longest_body_s, self._refuse, late)

    def _stop(self) -> None:
        self._head_bytes = None
        self._in_body = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, why: str) -> None:
        answered = self._in_body and self.cycle.response_started
        self._stop()
        if self.transport.is_closing():
            return
        if answered:
            self.transport.close()
        else:
            self.send_400_response(why)
