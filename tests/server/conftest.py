"""Apps that really start, with scripted models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from cap_server.app import create_app
from cap_server.bounded_http import BoundedHTTP
from cap_server.settings import Settings
from cap_server.stores import Stores, open_stores
from cap_server.testing import FakeSandbox, ScriptedModel
from cap_server.tools import Tools
from tests.ports import listening_socket
from tests.server.benches import tools

Opened = AbstractAsyncContextManager[httpx.AsyncClient]


@asynccontextmanager
async def served(
    given: Tools, settings: Settings | None = None, *, stores: Stores | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that runs on `given` tools."""
    app = create_app(settings or Settings(), tools=nullcontext(given), stores=stores)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield client


@contextmanager
def listening_on(
    given: Tools, settings: Settings | None = None, *, stores: Stores | None = None
) -> Iterator[str]:
    """The URL of a server that really listens, in a thread of its own."""
    app = create_app(settings or Settings(), tools=nullcontext(given), stores=stores)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, http=BoundedHTTP, ws="none")
    )
    with listening_socket() as listener:
        serve = server.serve(sockets=[listener])
        thread = threading.Thread(target=lambda: asyncio.run(serve))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def listening_with_batches(given: Tools, settings: Settings | None = None) -> Iterator[str]:
    """The same of a server that keeps batches, in a folder of its own."""
    with (
        TemporaryDirectory() as folder,
        open_stores(Settings(state_dir=Path(folder))) as stores,
        listening_on(given, settings, stores=stores) as url,
    ):
        yield url


@asynccontextmanager
async def listening(app: ASGIApp, *, http: type[BoundedHTTP] = BoundedHTTP) -> AsyncIterator[str]:
    """The URL at which `app` really listens, in this loop."""
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, http=http, ws="none")
    )
    with listening_socket() as listener:
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            await serving


@pytest.fixture
def scripted() -> Callable[..., Opened]:
    """Opens an app whose programs come to the given answers."""

    def open_(*answers: int, settings: Settings | None = None) -> Opened:
        script = [f"answer={a}" for a in answers]
        sandbox = FakeSandbox({f"answer={a}": a for a in answers})
        return served(tools(ScriptedModel(script), sandbox), settings)

    return open_
