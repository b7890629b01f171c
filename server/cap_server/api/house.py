"""What the routes are given: the house's tools, and who may use them."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cap_server.errors import UnauthorizedError
from cap_server.observing import Metrics, current_account
from cap_server.settings import Settings
from cap_server.tools import Tools
from cap_server.trust import Ledger


@dataclass(frozen=True, slots=True)
class House:
    settings: Settings
    tools: Tools
    ledger: Ledger
    metrics: Metrics


def _house(request: Request) -> House:
    house = request.app.state.house
    assert isinstance(house, House)
    return house


InHouse = Annotated[House, Depends(_house)]

_bearer = HTTPBearer(auto_error=False, description="One of CAP_API_KEYS, where the server has any.")


def authorized(
    house: InHouse, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str:
    """Let a request pass that carries an accepted key, or any where none is set.

    Returns:
        The tenant: who shares what is learned of sources. It is a hash of the key.

    Raises:
        UnauthorizedError: it carries none, or another.
    """
    accepted = house.settings.accepted_keys()
    key = sent.credentials.encode() if sent else b""
    # All are compared, each in constant time: how long it takes says nothing about the keys.
    matches = [secrets.compare_digest(key, each.encode()) for each in accepted]
    if accepted and not any(matches):
        raise UnauthorizedError(
            "Send one of this server's API keys as 'Authorization: Bearer KEY'."
        )
    tenant = hashlib.blake2b(key, digest_size=16).hexdigest() if accepted else "all"
    current_account().of_tenant(tenant)
    return tenant


Tenant = Annotated[str, Depends(authorized)]
