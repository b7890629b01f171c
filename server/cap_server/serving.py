"""The server as a process: alone, or together with the engine that it needs.

Whatever ends one ends the other: a signal, the engine's death, the server's. Nothing stays behind.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

import uvicorn
from fastapi import FastAPI

from cap_server.api.house import House
from cap_server.app import create_app, open_tools
from cap_server.bounded_http import BoundedHTTP
from cap_server.engine import Engine, EngineOptions, about
from cap_server.errors import StoreUnavailableError, StoreUnusableError
from cap_server.garbage import settle
from cap_server.keys import Access, Keyring, access_of
from cap_server.settings import Settings
from cap_server.signals import Signals, listening
from cap_server.stores import Stores, open_stores, place_of

KEEP_ALIVE_S = 75
"""For which idle connections stay open: longer than proxies keep them (nginx: 60 s). Who closes
first must be the one that sends requests, or one is now and then sent into a closing connection."""

_LAST_WORD_S = 1.0
"""For what is cut off to say so, before its connection is."""


class ServingError(Exception):
    """Why the server could not run; the message is for the operator."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: `Signals` hears them for server and engine together."""
        yield


class Started(Protocol):
    def __call__(self, access: Access, *, stores: bool) -> None:
        """The server listens.

        Args:
            access: who may use it.
            stores: whether its database can be written to.
        """


async def serve(settings: Settings, *, started: Started) -> None:
    """Run the server until a signal ends it.

    Args:
        settings: the operator's.
        started: called once the server listens.

    Raises:
        ServingError: the address is taken or not ours, nobody guards it, or its database is
            damaged or of a newer version.
        PoolError: the sandbox cannot start on this machine.
    """
    async with listening() as signals:
        with _bound(settings.host, settings.port) as listener, open_stores(settings) as stores:
            stored = await can_store(settings, stores)
            access = await _guarded(settings, stores)
            async with open_tools(settings) as tools:
                app = create_app(settings, tools=nullcontext(tools), stores=stores)
                ready = partial(started, access, stores=stored)
                served = _Served(app, settings, signals)
                await served.serve(listener, started=ready, until=[signals.stopped.wait])


async def up(
    settings: Settings,
    options: EngineOptions,
    *,
    progress: Callable[[str], None],
    started: Started,
) -> None:
    """Run engine and server until a signal, or the end of either, ends both.

    Raises:
        EngineError: vLLM did not start, or ended while the server ran.
        ServingError: see `serve`.
        PoolError: see `serve`.
    """
    async with listening() as signals:
        # Address and sandbox come first: nobody wants to wait for vLLM to learn that they fail.
        with _bound(settings.host, settings.port) as listener, open_stores(settings) as stores:
            stored = await can_store(settings, stores)
            access = await _guarded(settings, stores)
            engine = Engine(options)
            served = _with_engine(settings, options, url=engine.base_url)
            async with open_tools(served) as tools, engine:
                ready = engine.ready(timeout_s=settings.engine_timeout_s, progress=progress)
                if not await _unless(signals.stopped, ready):
                    return
                app = create_app(served, tools=nullcontext(tools), stores=stores)
                ready_ = partial(started, access, stores=stored)
                ends = [signals.stopped.wait, engine.wait]
                await _Served(app, settings, signals).serve(listener, started=ready_, until=ends)
                if not signals.stopped.is_set():
                    raise engine.died()


async def can_store(settings: Settings, stores: Stores) -> bool:
    """Whether the database can be written to; the server serves without.

    Raises:
        ServingError: it never will, before somebody sees to it.
    """
    try:
        await stores.database.check()
    except StoreUnusableError as error:
        raise ServingError(
            f"{place_of(settings)} cannot be used, and was left as it is. {error.message} "
            "CAP_DATABASE_URL and CAP_STATE_DIR say where it is."
        ) from error
    except StoreUnavailableError:
        return False
    return True


async def _guarded(settings: Settings, stores: Stores) -> Access:
    """Who may use the server.

    Raises:
        ServingError: everyone who reaches it could, and nobody said that they may.
    """
    keyring = Keyring(settings.given_keys(), stores.keys)
    await keyring.refresh()
    access = access_of(keyring, host=settings.host, open_=settings.open)
    if access is None:
        raise ServingError(
            f"Refusing to listen on {settings.host} without API keys: whoever reaches it could use "
            "it. Make a key (`cap keys create NAME`) or set CAP_API_KEYS; or listen on 127.0.0.1, "
            "for this machine alone (CAP_HOST, --host); or let everyone in (CAP_OPEN=1, --open)."
        )
    return access


def _with_engine(settings: Settings, options: EngineOptions, *, url: str) -> Settings:
    """`settings` for the model that `options` serve, whatever the environment names instead."""
    model: dict[str, object] = {
        "model_url": url,
        "model": options.served_name,
        "model_api_key": None,
    }
    model |= about(options.model).settings(given=settings.model_fields_set)
    return settings.model_copy(update=model)


class _Served:
    """The app from its first request to its last."""

    def __init__(self, app: FastAPI, settings: Settings, signals: Signals) -> None:
        self._app = app
        self._settings = settings
        self._signals = signals
        self._server = _Server(_config(app, drain_s=settings.drain_s))

    async def serve(
        self,
        listener: socket.socket,
        *,
        started: Callable[[], None],
        until: Sequence[Callable[[], Coroutine[None, None, object]]],
    ) -> None:
        """Serve until the app ends by itself or one of `until` comes to its end."""
        serving = asyncio.ensure_future(self._server.serve(sockets=[listener]))
        ends = [asyncio.ensure_future(end()) for end in until]
        try:
            await _listens(self._server, serving)
            settle()
            started()
            await asyncio.wait([serving, *ends], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            if isinstance(house := getattr(self._app.state, "house", None), House):
                await self._leave(house, serving)
            self._server.should_exit = True
            await serving

    async def _leave(self, house: House, serving: asyncio.Future[None]) -> None:
        """Say so, then take no more, then cut off what is left: at once if a signal hurries."""
        hurried = asyncio.ensure_future(self._signals.hurried.wait())
        house.ending.announce()
        if self._signals.announced:
            await _either(serving, hurried, within_s=self._settings.leave_s)
        await house.batches.finish()
        self._server.should_exit = True
        await _either(serving, hurried, within_s=self._settings.drain_s)
        house.ending.cut_off()
        hurried.cancel()
        await asyncio.wait({serving}, timeout=_LAST_WORD_S)
        # Who has not even sent its request, or does not read the answer.
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()


async def _either(*ends: asyncio.Future[Any], within_s: float) -> None:
    await asyncio.wait(ends, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)


def _config(app: FastAPI, *, drain_s: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        http=BoundedHTTP,
        ws="none",  # nothing here speaks it, whichever library is installed
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_S,
        # `_Served` is sooner, and says so to clients; this is for what cannot be cut off.
        timeout_graceful_shutdown=drain_s + 5,
    )


async def _listens(server: uvicorn.Server, serving: asyncio.Future[None]) -> None:
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event
        await asyncio.sleep(0.01)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that has the address and does not listen yet: uvicorn makes it listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ServingError(
                f"Cannot listen on {host}:{port}: {error.strerror}. "
                "CAP_HOST and CAP_PORT (--host, --port) choose another address."
            ) from error
        yield listener


async def _unless(stopped: asyncio.Event, work: Awaitable[object]) -> bool:
    """Whether `work` came to its end before `stopped` was set, which cancels it."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stopped.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
