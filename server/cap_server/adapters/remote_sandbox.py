"""The sandbox as a service elsewhere: `cap-sandbox serve`, at CAP_SANDBOX_URL."""

from __future__ import annotations

import asyncio
import json

import httpx
import structlog

from cap_sandbox import TIERS, Execution, Limits
from cap_sandbox.protocol import FrameError, check_limits, max_report_bytes
from cap_sandbox.wire import decode_execution, encode_request
from cap_server.errors import SandboxUnavailableError
from cap_server.logs import request_id

_TRIES = 2
# A program waits for its turn and for a process before its own time begins.
_SLACK_S = 30.0
_CHECK_S = 10.0
_LONGEST_RETRY_S = 60
_DOWN = "The sandbox cannot be reached."

_log = structlog.get_logger(__name__)


def sandbox_client(url: str, *, connections: int) -> httpx.AsyncClient:
    """The client of the service at `url`, `http://HOST:PORT` or `unix:///PATH`.

    Args:
        url: where the service listens.
        connections: programs that are under way at once; more wait for a place.
    """
    path = url.removeprefix("unix://") if url.startswith("unix://") else None
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(
        base_url="http://sandbox" if path else url,
        transport=httpx.AsyncHTTPTransport(uds=path, limits=limits),
        # Every call has a time of its own for the rest.
        timeout=httpx.Timeout(None, connect=5.0, write=10.0),
    )


class RemoteSandbox:
    """Args: client: from `sandbox_client`; closed by whoever opened it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def execute(self, program: str, *, limits: Limits) -> Execution:
        """See `Sandbox.execute`. A program has no effects, so one that got lost runs again."""
        check_limits(limits)
        body = encode_request(program, limits)
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id() or ""}
        request = self._client.build_request("POST", "/execute", content=body, headers=headers)
        within_s, max_bytes = limits.wall_s + _SLACK_S, max_report_bytes(limits)
        content = await self._ask(request, within_s=within_s, max_bytes=max_bytes)
        try:
            return decode_execution(content)
        except FrameError as error:
            raise _unavailable("sandbox_garbage", fault=str(error)) from error

    async def check(self) -> str:
        request = self._client.build_request("GET", "/ready")
        content = await self._ask(request, within_s=_CHECK_S, max_bytes=16 * 1024)
        try:
            tier = json.loads(content)["tier"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _unavailable("sandbox_garbage", fault=repr(error)) from error
        if tier not in TIERS:
            raise _unavailable("sandbox_garbage", fault="an unknown tier")
        return str(tier)

    async def _ask(self, request: httpx.Request, *, within_s: float, max_bytes: int) -> bytes:
        try:
            async with asyncio.timeout(within_s):
                return await self._try(request, max_bytes=max_bytes)
        except TimeoutError as error:
            raise _unavailable("sandbox_slow", within_s=within_s) from error

    async def _try(self, request: httpx.Request, *, max_bytes: int) -> bytes:
        for attempt in range(1, _TRIES + 1):
            try:
                response = await self._client.send(request, stream=True)
                try:
                    content = await _read(response, max_bytes)
                finally:
                    await response.aclose()
            except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError) as error:
                # Most likely a kept connection that the service closed at that very moment.
                if attempt == _TRIES:
                    raise _unavailable("sandbox_unreachable", error=repr(error)) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _unavailable("sandbox_broke_off", error=repr(error)) from error
            else:
                return _accepted(response, content)
        raise AssertionError("unreachable")


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > max_bytes:
            raise _unavailable("sandbox_garbage", fault=f"more than {max_bytes} bytes")
    return bytes(content)


def _accepted(response: httpx.Response, content: bytes) -> bytes:
    if response.status_code == httpx.codes.OK:
        return content
    _log.warning("sandbox_refused", status=response.status_code, body=content[:500])
    after = response.headers.get("retry-after", "")
    raise SandboxUnavailableError(
        "The sandbox cannot run programs now.",
        retry_after_s=min(int(after), _LONGEST_RETRY_S) if after.isdecimal() else 5,
    )


def _unavailable(event: str, **facts: object) -> SandboxUnavailableError:
    _log.warning(event, **facts)
    return SandboxUnavailableError(_DOWN, retry_after_s=5)
