"""What the routes are given: the house's tools, and who may use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cap_server.admission import Admission
from cap_server.api.door import Caller
from cap_server.batches.batches import Batches
from cap_server.ending import Ending
from cap_server.errors import ForbiddenError, UnauthorizedError
from cap_server.keys import Keyring, Turnstile
from cap_server.observing import Metrics
from cap_server.settings import Settings
from cap_server.tools import Tools
from cap_server.trust import Ledger


@dataclass(frozen=True, slots=True)
class House:
    settings: Settings
    tools: Tools
    ledger: Ledger
    keyring: Keyring
    turnstile: Turnstile
    batches: Batches
    metrics: Metrics
    admission: Admission
    ending: Ending


# Coroutines, because FastAPI sends plain functions to a thread each.
async def _house(request: Request) -> House:
    house = request.app.state.house
    assert isinstance(house, House)
    return house


InHouse = Annotated[House, Depends(_house)]

# For the documentation: `Door` has read the header.
_bearer = HTTPBearer(auto_error=False, description="An API key, where the server has any.")


async def caller(
    request: Request, _sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """Who sent the request, as `Door` found.

    Raises:
        UnauthorizedError: the request did not come through the door.
    """
    found = getattr(request.state, "caller", None)
    if not isinstance(found, Caller):
        raise UnauthorizedError("Send one of this server's API keys.")
    return found


Called = Annotated[Caller, Depends(caller)]


async def authorized(caller: Called) -> str:
    """The tenant: who shares what is learned of sources. It is a hash of the key."""
    return caller.tenant


Tenant = Annotated[str, Depends(authorized)]


async def may_execute(caller: Called) -> None:
    """Let those pass that may run programs of their own.

    Raises:
        ForbiddenError: they may not.
    """
    if "execute" not in caller.rights:
        raise ForbiddenError(
            "Without API keys this server runs programs of callers on its own machine only."
            if caller.key is None
            else "This API key does not have the right 'execute'."
        )
