"""One HTTP/1.1 connection to the service, bounded in every direction.

h11 reads and writes the protocol: it is small, pure Python, needs nothing else, and is strict about
what makes a request ambiguous (lengths, framing, line ends), which is where parsers written by hand
go wrong. What it leaves to its user stands here: time, sizes, and seeing that a client has left.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11

_CHUNK = 64 * 1024
_MAX_HEADER_BYTES = 16 * 1024
# How long a connection may stay open without a request, a request take to arrive, and an answer to
# be taken.
_IDLE_S = 75.0
_ARRIVAL_S = 10.0
_DEPARTURE_S = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks.

    Attributes:
        client: its `X-Request-Id`: the request of its own that this one is a part of.
    """

    method: str
    path: str
    content_type: str
    client: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """Attributes: content: JSON, or a text that is sent as it is."""

    status: int
    content: Mapping[str, object] | str
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """A request that is answered before it is understood; the connection ends with it."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def refusal(
    status: int, code: str, message: str, *, param: str | None = None, retry_after_s: int = 0
) -> Response:
    """An error in the server's shape."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    fault = {"message": message, "type": kind, "param": param, "code": code}
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
    return Response(status, {"error": fault}, headers)


class Connection:
    """A client's connection.

    Args:
        reader: what comes from it.
        writer: what goes to it.
        max_body_bytes: a longer body is refused, and not read further.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, max_body_bytes: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._max_body_bytes = max_body_bytes
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEADER_BYTES)
        self._bodiless = False
        # So that `drain` waits until all is taken, and nothing is left to flush at the end.
        writer.transport.set_write_buffer_limits(0)

    async def next_request(self) -> Request | None:
        """Return the next request; None when there will be none.

        Raises:
            RefusedError: what came is too large, too slow, or no HTTP.
        """
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        if not await self._begins():
            return None
        try:
            async with asyncio.timeout(_ARRIVAL_S):
                return await self._arriving()
        except TimeoutError:
            raise RefusedError(refusal(408, "slow_body", "The request is too slow.")) from None
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint
            raise RefusedError(refusal(status, "refused", "That is no HTTP/1.1.")) from error

    async def gone(self) -> None:
        """Return when the client leaves while its request is served.

        One that sends more before it has its answer does not count as gone any more.
        """
        data = await self._reader.read(_CHUNK)
        self._http.receive_data(data)
        if data:
            await asyncio.Event().wait()

    async def send(self, response: Response, *, last: bool) -> bool:
        """Send a response, and return whether the connection can go on after it.

        Raises:
            OSError: the client is gone, or does not take it.
        """
        content = response.content
        plain = isinstance(content, str)
        body = (content if isinstance(content, str) else json.dumps(content)).encode("ascii")
        headers = {
            "Content-Type": "text/plain; version=0.0.4" if plain else "application/json",
            "Content-Length": str(len(body)),
            **({"Connection": "close"} if last else {}),
            **response.headers,
        }
        head = h11.Response(status_code=response.status, headers=list(headers.items()))
        data = h11.Data(data=b"" if self._bodiless else body)
        for event in (head, data, h11.EndOfMessage()):
            self._writer.write(self._http.send(event) or b"")
        await self._flush()
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def close(self) -> None:
        self._writer.close()

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(_DEPARTURE_S):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise

    async def _begins(self) -> bool:
        """Whether a request begins to arrive before the connection counts as idle."""
        if self._http.trailing_data[0]:
            return True
        try:
            async with asyncio.timeout(_IDLE_S):
                data = await self._reader.read(_CHUNK)
        except (TimeoutError, OSError):
            return False
        self._http.receive_data(data)
        return bool(data)

    async def _arriving(self) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                await self._read_more()
            elif isinstance(event, h11.Request):
                head = event
                self._bodiless = head.method == b"HEAD"
                self._check_declared(head)
            elif isinstance(event, h11.Data):
                body += event.data
                self._check_size(len(body))
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, bytes(body))
            else:
                return None

    async def _read_more(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            self._writer.write(self._http.send(go_on) or b"")
        try:
            self._http.receive_data(await self._reader.read(_CHUNK))
        except OSError:
            self._http.receive_data(b"")

    def _check_declared(self, head: h11.Request) -> None:
        declared = dict(head.headers).get(b"content-length", b"0")
        self._check_size(int(declared))

    def _check_size(self, size: int) -> None:
        if size > self._max_body_bytes:
            message = f"The body is larger than {self._max_body_bytes} bytes."
            raise RefusedError(refusal(413, "body_too_large", message))


def _request(head: h11.Request, body: bytes) -> Request:
    headers = dict(head.headers)
    return Request(
        method=head.method.decode("ascii"),
        path=head.target.decode("ascii", "replace").partition("?")[0],
        content_type=headers.get(b"content-type", b"").decode("latin-1"),
        client=headers.get(b"x-request-id", b"").decode("latin-1"),
        body=body,
    )
