"""A model on OpenAI-compatible servers: how they are spoken to, and what their failures mean."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from cap_server.adapters import retries
from cap_server.adapters.faults import MODEL_DOWN, facts_of, fault_of, retry_after_s
from cap_server.adapters.hedge import Start, hedged
from cap_server.adapters.replicas import Replica, Replicas
from cap_server.adapters.transport import AiohttpTransport
from cap_server.errors import CapError, ModelUnavailableError
from cap_server.secrecy import Mask

_log = structlog.get_logger(__name__)


def model_client(
    *, connections: int, read_timeout_s: float, connect_timeout_s: float = 5.0
) -> httpx.AsyncClient:
    """The client that all models share.

    Args:
        connections: requests that are under way at once; more wait for a place.
        read_timeout_s: seconds without a byte after which an upstream counts as down.
        connect_timeout_s: seconds until a connection must have come about.
    """
    return httpx.AsyncClient(
        timeout=httpx.Timeout(read_timeout_s, connect=connect_timeout_s, write=10.0),
        # Where the environment names a proxy, requests take httpx's own way to it.
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        mounts={"all://": AiohttpTransport(connections=connections)},
    )


Fault = Callable[[httpx.Response, str], CapError]
"""Says what a response of a model's server means whose status is not 200."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """Attributes: safe: to ask again; asked_s: seconds that the server asked to wait."""

    error: CapError
    safe: bool
    asked_s: int | None = None


class Upstream:
    """A model of OpenAI-compatible servers.

    Args:
        client: from `model_client`; closed by whoever opened it.
        url: the API's root, `http://host:port/v1`; or the replicas that offer the model.
        name: the model, as the servers name it.
        api_key: sent as a bearer token; None to send none.
        total_timeout_s: from a request to the end of its answer, at most.
        hedge: whether a draw that is slow is asked of a second replica too.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        url: str | Replicas,
        name: str,
        api_key: str | None = None,
        total_timeout_s: float = 600.0,
        hedge: bool = True,
    ) -> None:
        self.name = name
        self.mask = Mask([api_key] if api_key else [])
        self.replicas = Replicas([url]) if isinstance(url, str) else url
        self._client = client
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._total_timeout_s = total_timeout_s
        self._hedges = hedge and len(self.replicas.all) > 1

    async def get_from(self, replica: Replica, path: str) -> httpx.Response:
        """The whole answer of one of the servers, whatever became of others' requests to it.

        Raises:
            CapError: as `post`.
        """
        try:
            response = await self._client.get(replica.url + path, headers=self._headers)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ModelUnavailableError(MODEL_DOWN, retry_after_s=5) from error
        except httpx.HTTPError as error:
            raise self._broke_off(replica, error) from error
        if response.status_code != httpx.codes.OK:
            raise fault_of(response, self.name)
        return response

    async def post(
        self, path: str, body: Mapping[str, Any], *, fault: Fault = fault_of
    ) -> httpx.Response:
        """The whole answer, with status 200.

        Args:
            path: below the API's root.
            body: sent as JSON.
            fault: what an answer with another status means.

        Raises:
            CapError: the fault.
            ModelUnavailableError: nobody answers, or not in time.
        """
        return await self._whole(path, body, fault, self.replicas.must())

    async def draw(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """As `post`, for a text that may be drawn twice: a slow server is hedged."""
        first = self.replicas.must()

        async def drawn(replica: Replica) -> httpx.Response:
            started = time.monotonic()
            response = await self._whole(path, body, fault_of, replica)
            replica.drew(time.monotonic() - started)
            return response

        def second() -> Start[httpx.Response] | None:
            other = self.replicas.next(but={first})
            return (lambda: drawn(other)) if other and not other.rests else None

        after_s = first.slow_after_s() if self._hedges else float("inf")
        return await hedged(lambda: drawn(first), second, after_s=after_s)

    async def stream(
        self, path: str, body: Mapping[str, Any], *, fault: Fault = fault_of
    ) -> AsyncGenerator[bytes, None]:
        """The answer as it comes. Closing the generator closes the connection.

        Raises:
            CapError: as `post`; once the first bytes have come, only ModelUnavailableError.
        """
        ends = self._ends()
        replica = self.replicas.must()
        async with self._opened(path, body, fault, first=replica, ends=ends) as response:
            chunks = response.aiter_bytes()
            while True:
                async with asyncio.timeout_at(ends):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk

    async def _whole(
        self, path: str, body: Mapping[str, Any], fault: Fault, first: Replica
    ) -> httpx.Response:
        ends = self._ends()
        async with self._opened(path, body, fault, first=first, ends=ends) as response:
            async with asyncio.timeout_at(ends):
                await response.aread()
            return response

    def _ends(self) -> float:
        return asyncio.get_running_loop().time() + self._total_timeout_s

    @asynccontextmanager
    async def _opened(
        self, path: str, body: Mapping[str, Any], fault: Fault, *, first: Replica, ends: float
    ) -> AsyncIterator[httpx.Response]:
        """A response with status 200 whose body is still to be read.

        What cannot have begun a generation is tried again, elsewhere where that is possible.
        """
        replica, tried = first, set[Replica]()
        for attempt in range(1, retries.TRIES + 1):
            async with self._attempt(replica, path, body, fault, ends=ends) as got:
                if isinstance(got, httpx.Response):
                    yield got
                    return
            tried.add(replica)
            other = self.replicas.next(but=tried)
            elsewhere = other is not None and not other.rests
            wait_s = retries.wait_s(attempt, asked_s=got.asked_s, elsewhere=elsewhere)
            if not got.safe or wait_s is None:
                raise got.error
            await asyncio.sleep(wait_s)
            if other is not None and elsewhere:
                replica = other
            elif not replica.circuit.admits():
                raise got.error

    @asynccontextmanager
    async def _attempt(
        self, replica: Replica, path: str, body: Mapping[str, Any], fault: Fault, *, ends: float
    ) -> AsyncIterator[httpx.Response | _Refused]:
        """One request to `replica`, which learns how it went once the body was read too."""
        url = replica.url + path
        with replica.visited() as visit:
            try:
                request = self._client.build_request("POST", url, json=body, headers=self._headers)
                async with asyncio.timeout_at(ends):
                    response = await self._client.send(request, stream=True)
                try:
                    if response.status_code != httpx.codes.OK:
                        async with asyncio.timeout_at(ends):
                            await response.aread()
                    else:
                        yield response
                finally:
                    await response.aclose()
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                visit.failed()
                _log.warning("model_unreachable", url=replica.place, error=repr(error))
                down = ModelUnavailableError(MODEL_DOWN, retry_after_s=5)
                down.__cause__ = error
                refused = _Refused(down, safe=True)
            except httpx.PoolTimeout as error:  # it never left: the place in our own queue
                raise self._broke_off(replica, error) from error
            except (httpx.HTTPError, TimeoutError) as error:
                visit.failed()
                raise self._broke_off(replica, error) from error
            else:
                visit.answered(response.status_code)
                if response.status_code == httpx.codes.OK:
                    return
                refused = self._refused(replica, response, fault)
        yield refused

    def _refused(self, replica: Replica, response: httpx.Response, fault: Fault) -> _Refused:
        _log.warning("model_refused", **facts_of(response))
        safe, asked_s = retries.is_safe(response), retry_after_s(response)
        if safe:
            replica.rest(asked_s or 1)
        return _Refused(fault(response, self.name), safe=safe, asked_s=asked_s)

    def _broke_off(self, replica: Replica, error: Exception) -> ModelUnavailableError:
        _log.warning("model_broke_off", url=replica.place, error=repr(error))
        return ModelUnavailableError(
            "The model's server broke off or did not answer in time.", retry_after_s=5
        )
