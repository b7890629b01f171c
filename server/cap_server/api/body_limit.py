"""Reads a request's body before anything else sees it, bounded in size and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cap_server.api.errors import error_response
from cap_server.errors import BodyTooLargeError, CapError, MediaTypeError, SlowBodyError

LONGEST_BODY_S = 30.0
_MOST_PASSED_OVER = 16 * 1024**2
"""Bytes of a body that is refused. Many clients listen only when they have sent all, and a
connection that is closed with bytes unread is reset: they would not see the answer."""


class BodyLimit:
    """ASGI middleware.

    Args:
        most_bytes: a longer body is answered with 413 and not kept.
        most_bytes_at: the same for single paths.
        longest_s: from the end of the head to that of the body, however often some of it comes; a
            slower one is answered with 408.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most_bytes: int,
        most_bytes_at: Mapping[str, int] | None = None,
        longest_s: float = LONGEST_BODY_S,
    ) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._most_bytes_at = most_bytes_at or {}
        self._longest_s = longest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._longest_s):
                body = await self._read(scope, receive)
        except TimeoutError:
            await self._refuse(SlowBodyError("The body did not arrive in time."), scope, send)
        except CapError as error:
            await self._refuse(error, scope, send)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        most = self._most_bytes_at.get(scope["path"], self._most_bytes)
        headers = dict(scope["headers"])
        refusal = _refusal(headers, most)
        if refusal is not None and b"expect" in headers:
            raise refusal  # the client waits for our word before it sends
        body, size = bytearray(), 0
        while True:
            message = await receive()
            chunk = message.get("body", b"")
            size += len(chunk)
            ends = message["type"] == "http.disconnect" or not message.get("more_body", False)
            if refusal is None and size > most:
                refusal = _too_large(most)
                body.clear()
            if refusal is None:
                body += chunk
                if ends:
                    return bytes(body)
            elif ends or size > most + _MOST_PASSED_OVER:
                raise refusal

    async def _refuse(self, error: CapError, scope: Scope, send: Send) -> None:
        response = error_response(error)
        # What was not read of the body would be taken for the next request.
        response.headers["Connection"] = "close"
        await response(scope, _nothing, send)


def _refusal(headers: Mapping[bytes, bytes], most: int) -> CapError | None:
    """Why a body with these headers is not taken, whatever it is."""
    if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
        # Unpacked, it could be a thousand times what is allowed.
        return MediaTypeError("Send the body as it is, without 'Content-Encoding'.")
    declared = headers.get(b"content-length", b"")
    return _too_large(most) if declared.isdigit() and int(declared) > most else None


def _too_large(most: int) -> CapError:
    return BodyTooLargeError(f"The body is larger than {most} bytes.")


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
