"""The keys that are accepted now: those of CAP_API_KEYS, and those of the database."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Literal

import structlog

from cap_server.domain import Key
from cap_server.errors import StoreUnavailableError
from cap_server.keys.key import digest_of
from cap_server.ports import KeyStore

_EVERY_S = 1.0
"""How long a key that was made or revoked goes unnoticed."""

_log = structlog.get_logger(__name__)


class Keyring:
    """Attributes:
    state: `keys`: there are keys, or were; `none`: there never was one; `unknown`: the
        database has not answered yet.
    whole: whether the database's keys are among them, or there is none.

    Args:
        given: the operator's, which need no database.
        store: None where there is no database.
    """

    def __init__(self, given: Iterable[Key], store: KeyStore | None) -> None:
        self._given = {key.digest: key for key in given}
        self._stored: dict[str, Key] = {}
        self._store = store
        self._answered = True
        self.whole = store is None
        self.state: Literal["keys", "none", "unknown"] = "keys" if self._given else "none"
        if store is not None and not self._given:
            self.state = "unknown"

    def find(self, secret: str) -> Key | None:
        """The key whose secret this is."""
        digest = digest_of(secret)
        # How long the look-up takes tells of a hash that nobody can steer, and not of the secret.
        key = self._given.get(digest) or self._stored.get(digest)
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None

    def holds(self, key: Key) -> bool:
        """Whether `key` is accepted still."""
        return key.digest in self._given or key.digest in self._stored

    async def refresh(self) -> None:
        """Read the database's keys; while it does not answer, those it told last stay."""
        if self._store is None:
            return
        try:
            ever, live = await self._store.live()
        except StoreUnavailableError:
            self._tell(answered=False)
            return
        self._stored = {key.digest: key for key in live}
        self.whole = True
        self._tell(answered=True)
        # Never back to `none`: a server whose keys are all revoked must not open to everyone.
        if ever:
            self.state = "keys"
        elif self.state == "unknown":
            self.state = "none"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Keyring]:
        """Keep up with the database."""
        await self.refresh()
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while self._store is not None:
            await asyncio.sleep(_EVERY_S)
            await self.refresh()

    def _tell(self, *, answered: bool) -> None:
        if answered is not self._answered:
            _log.log(20 if answered else 30, "key_store", answers=answered, keys=self.state)
        self._answered = answered
