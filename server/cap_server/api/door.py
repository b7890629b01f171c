"""Who comes in: under `/v1/` only callers with a key, within the key's limits.

It stands before the body is read: a stranger's body is nobody's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from cap_server.api.errors import error_response
from cap_server.domain import Key, Right
from cap_server.errors import CapError, StoreUnavailableError, UnauthorizedError
from cap_server.keys import Keyring, Turnstile, access_of
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
            caller = self._caller(Headers(scope=scope).get("authorization"))
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

    def _caller(self, authorization: str | None) -> Caller:
        access = access_of(self._keyring, host=self._host, open_=self._open)
        if access == "loopback":
            return Caller("all", _EVERYTHING)
        if access == "open":
            return Caller("all", frozenset())
        secret = _bearer(authorization)
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


def _bearer(authorization: str | None) -> str | None:
    scheme, _, secret = (authorization or "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None
