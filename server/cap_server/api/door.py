"""Who comes in: under `/v1/` only callers with a key, within the key's limits.

It stands before the body is read: a stranger's body is nobody's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from cap_server.api.errors import error_response
from cap_server.domain import Key, Right
from cap_server.errors import (
    CapError,
    ForbiddenError,
    StoreUnavailableError,
    UnauthorizedError,
)
from cap_server.keys import Keyring, Turnstile, access_of, is_loopback
from cap_server.observing import current_account

_RETRY_AFTER_S = 2
_EVERYTHING: frozenset[Right] = frozenset({"execute"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes:
        tenant: who shares what is learned and kept: a hash of the key, or `all` without keys.
        key: None on a server without keys.
    """

    tenant: str
    rights: frozenset[Right]
    key: Key | None = None


class Door:
    """ASGI middleware. Routes find the `Caller` in `request.state`.

    Args:
        host: where the server listens.
        open_: whether a server without keys takes callers from beyond this machine.
    """

    def __init__(
        self, app: ASGIApp, *, keyring: Keyring, turnstile: Turnstile, host: str, open_: bool
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._turnstile = turnstile
        self._host = host
        self._open = open_

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        inside = False
        try:
            caller = self._caller(Headers(scope=scope))
            scope.setdefault("state", {})["caller"] = caller
            current_account().key = caller.key.id if caller.key else None
            with self._turnstile.passing(caller.key):
                inside = True
                await self._app(scope, receive, send)
        except CapError as error:
            if inside:
                raise
            # The connection stays: uvicorn reads on and drops what comes of the body, and a client
            # that is still sending gets to read why.
            await error_response(error)(scope, receive, send)

    def _caller(self, headers: Headers) -> Caller:
        access = access_of(self._keyring, host=self._host, open_=self._open)
        if access == "loopback" and _names_this_machine(headers.get("host")):
            return Caller("all", _EVERYTHING)
        if access == "open" or (access == "loopback" and self._open):
            return Caller("all", frozenset())
        if access == "loopback":
            raise ForbiddenError(
                "Without API keys this server serves this machine alone, as localhost or "
                "127.0.0.1: make a key (`cap keys create NAME`), or let everyone in (CAP_OPEN=1)."
            )
        secret = _bearer(headers.get("authorization"))
        key = self._keyring.find(secret) if secret else None
        if key is not None and secret is not None:
            tenant = blake2b(secret.encode(), digest_size=16).hexdigest()
            return Caller(tenant, key.rights, key)
        if not self._keyring.whole:
            raise StoreUnavailableError(
                "The database with this server's API keys does not answer.",
                retry_after_s=_RETRY_AFTER_S,
            )
        raise UnauthorizedError(
            "This API key is not known here, or was revoked."
            if secret
            else "Send one of this server's API keys as 'Authorization: Bearer KEY'."
        )


def _names_this_machine(host: str | None) -> bool:
    """Whether a request was meant for this machine.

    A page that a browser shows may have its own name lead here (DNS rebinding), and then sends
    what it likes, because it asks nobody but itself. The name is what tells.
    """
    if host is None:  # HTTP/1.0, which no browser speaks
        return True
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _bearer(authorization: str | None) -> str | None:
    scheme, _, secret = (authorization or "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None
