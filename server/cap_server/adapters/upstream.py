"""One OpenAI-compatible server: how it is spoken to, and what its failures mean."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import httpx
import structlog

from cap_server.adapters.faults import MODEL_DOWN, fault_of
from cap_server.errors import CapError, ModelUnavailableError

_TRIES = 3
_BACKOFF_S = 0.1

_log = structlog.get_logger(__name__)


def model_client(*, connections: int, read_timeout_s: float) -> httpx.AsyncClient:
    """The client that all models share.

    Args:
        connections: requests that are under way at once; more wait for a place.
        read_timeout_s: seconds without a byte after which an upstream counts as down.
    """
    return httpx.AsyncClient(
        timeout=httpx.Timeout(read_timeout_s, connect=5.0, write=10.0),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    )


Fault = Callable[[httpx.Response, str], CapError]
"""Says what a response of a model's server means whose status is not 200."""


class Upstream:
    """A model of an OpenAI-compatible server.

    Args:
        client: from `model_client`; closed by whoever opened it.
        url: the API's root, `http://host:port/v1`.
        name: the model, as the server names it.
        api_key: sent as a bearer token; None to send none.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        url: str,
        name: str,
        api_key: str | None = None,
    ) -> None:
        self.name = name
        self._client = client
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def get(self, path: str) -> httpx.Response:
        """As `post`."""
        return await self._whole("GET", path, None, fault_of)

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
        return await self._whole("POST", path, body, fault)

    async def stream(
        self, path: str, body: Mapping[str, Any], *, fault: Fault = fault_of
    ) -> AsyncGenerator[bytes, None]:
        """The answer as it comes. Closing the generator closes the connection.

        Raises:
            CapError: as `post`; once the first bytes have come, only ModelUnavailableError.
        """
        response = await self._sent("POST", path, body, fault)
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except httpx.HTTPError as error:
            raise self._broke_off(error) from error
        finally:
            await response.aclose()

    async def _whole(
        self, method: str, path: str, body: Mapping[str, Any] | None, fault: Fault
    ) -> httpx.Response:
        response = await self._sent(method, path, body, fault)
        try:
            await response.aread()
        except httpx.HTTPError as error:
            raise self._broke_off(error) from error
        finally:
            await response.aclose()
        return response

    async def _sent(
        self, method: str, path: str, body: Mapping[str, Any] | None, fault: Fault
    ) -> httpx.Response:
        """A response with status 200 whose body is still to be read.

        What cannot have begun a generation is tried again.
        """
        request = self._client.build_request(
            method, self._url + path, json=body, headers=self._headers
        )
        for attempt in range(1, _TRIES + 1):
            try:
                response = await self._client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if attempt == _TRIES:
                    _log.warning("model_unreachable", url=self._url, error=repr(error))
                    raise ModelUnavailableError(MODEL_DOWN, retry_after_s=5) from error
                await asyncio.sleep(random.uniform(0.5, 1.5) * _BACKOFF_S * attempt)
                continue
            except httpx.HTTPError as error:
                raise self._broke_off(error) from error
            if response.status_code != httpx.codes.OK:
                raise await self._refused(response, fault)
            return response
        raise AssertionError("unreachable")

    async def _refused(self, response: httpx.Response, fault: Fault) -> CapError:
        try:
            await response.aread()
        except httpx.HTTPError as error:
            return self._broke_off(error)
        finally:
            await response.aclose()
        _log.warning("model_refused", status=response.status_code, body=response.text[:500])
        return fault(response, self.name)

    def _broke_off(self, error: httpx.HTTPError) -> ModelUnavailableError:
        _log.warning("model_broke_off", url=self._url, error=repr(error))
        return ModelUnavailableError(
            "The model's server broke off or did not answer in time.", retry_after_s=5
        )
