"""What both clients make of httpx: its settings, and its exceptions in our words."""

from __future__ import annotations

import httpx

from cap_client._configuration import Configuration
from cap_client._errors import UnreachableError
from cap_client._flow import Head, Request

# However many calls run at once is the caller's choice; a call that waited for a connection of
# ours would look like a slow server.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)

_LONGEST_CONNECT_S = 10.0

# Those that tell that nothing was sent.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def built(
    request: Request, http: httpx.Client | httpx.AsyncClient, of: Configuration
) -> httpx.Request:
    timeout = httpx.Timeout(request.silence_s, connect=min(request.silence_s, _LONGEST_CONNECT_S))
    return http.build_request(
        request.method,
        of.base_url + request.path,
        json=request.body,
        headers={**of.headers(), **request.headers},
        timeout=timeout,
    )


def head_of(response: httpx.Response) -> Head:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Head(response.status_code, headers)


def unreachable(error: httpx.RequestError | httpx.StreamError) -> UnreachableError:
    """The server at fault is the caller's own, so what httpx says of it may be told."""
    told = str(error) or type(error).__name__
    return UnreachableError(told, sent=not isinstance(error, _UNSENT))
