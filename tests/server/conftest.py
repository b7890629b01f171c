"""Apps that really start, with scripted models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import httpx
import pytest

from cap_server.app import create_app
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from cap_server.workbench import Tools
from tests.server.benches import tools

Opened = AbstractAsyncContextManager[httpx.AsyncClient]


@asynccontextmanager
async def served(
    given: Tools, settings: Settings | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app that runs on `given` tools."""
    app = create_app(settings or Settings(), tools=nullcontext(given))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://cap") as client,
    ):
        yield client


@pytest.fixture
def scripted() -> Callable[..., Opened]:
    """Opens an app whose programs come to the given answers."""

    def open_(*answers: int, settings: Settings | None = None) -> Opened:
        script = [f"answer={a}" for a in answers]
        sandbox = FakeSandbox({f"answer={a}": a for a in answers})
        return served(tools(ScriptedModel(script), sandbox), settings)

    return open_
