"""Work that ends when the client leaves: its model calls and programs would be paid for nothing.

It ends too when the server does, and its time is over: then the client is told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Receive

from cap_server.ending import Ending, cut_off_error
from cap_server.errors import ClientGoneError

T = TypeVar("T")


async def unless_gone(request: Request, work: Coroutine[None, None, T]) -> T:
    """The result of `work`, which is cancelled as soon as the client of `request` is gone.

    Raises:
        ClientGoneError: it left. Nobody reads the answer; the log shows it.
        EndingError: the server ends before the work does.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(disconnected(request.receive))
    try:
        ends: set[asyncio.Future[Any]] = {working, leaving, *cut_off(request)}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if leaving.done():
            raise ClientGoneError("The client closed the connection.")
        raise cut_off_error()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def cut_off(request: Request) -> set[asyncio.Future[None]]:
    """What is done once the server that ends waits no longer; empty where it has no such end."""
    ending = getattr(request.app.state, "ending", None)
    return {ending.cut} if isinstance(ending, Ending) else set()


async def disconnected(receive: Receive) -> None:
    """Return once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
