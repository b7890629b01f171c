"""The server as a process: alone, or together with the engine that it needs.

Whatever ends one ends the other: a signal, the engine's death, the server's. Nothing stays behind.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial

import uvicorn
from fastapi import FastAPI

from cap_server.api.house import House
from cap_server.app import create_app, open_tools
from cap_server.bounded_http import BoundedHTTP
from cap_server.engine import Engine, EngineOptions, about
from cap_server.keys import Access, Keyring, access_of
from cap_server.settings import Settings
from cap_server.stores import Stores, open_stores


class ServingError(Exception):
    """Why the server could not run; the message is for the operator."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: `_signals` handles them for server and engine together."""
        yield


async def serve(settings: Settings, *, started: Callable[[Access], None]) -> None:
    """Run the server until a signal ends it.

    Args:
        settings: the operator's.
        started: called once the server listens, with who may use it.

    Raises:
        ServingError: the address is taken or not ours, or nobody guards it.
        PoolError: the sandbox cannot start on this machine.
    """
    async with _signals() as stopped:
        with _bound(settings.host, settings.port) as listener, open_stores(settings) as stores:
            access = await _guarded(settings, stores)
            async with open_tools(settings) as tools:
                app = create_app(settings, tools=nullcontext(tools), stores=stores)
                ready = partial(started, access)
                ends = [stopped.wait]
                await _serve(app, listener, drain_s=settings.drain_s, started=ready, until=ends)


async def up(
    settings: Settings,
    options: EngineOptions,
    *,
    progress: Callable[[str], None],
    started: Callable[[Access], None],
) -> None:
    """Run engine and server until a signal, or the end of either, ends both.

    Raises:
        EngineError: vLLM did not start, or ended while the server ran.
        ServingError: see `serve`.
        PoolError: see `serve`.
    """
    async with _signals() as stopped:
        # Address and sandbox come first: nobody wants to wait for vLLM to learn that they fail.
        with _bound(settings.host, settings.port) as listener, open_stores(settings) as stores:
            access = await _guarded(settings, stores)
            engine = Engine(options)
            served = _with_engine(settings, options, url=engine.base_url)
            async with open_tools(served) as tools, engine:
                ready = engine.ready(timeout_s=settings.engine_timeout_s, progress=progress)
                if not await _unless(stopped, ready):
                    return
                app = create_app(served, tools=nullcontext(tools), stores=stores)
                ready_ = partial(started, access)
                ends = [stopped.wait, engine.wait]
                await _serve(app, listener, drain_s=settings.drain_s, started=ready_, until=ends)
                if not stopped.is_set():
                    raise engine.died()


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
    reliability = about(options.model).reliability
    if reliability is not None and "model_reliability" not in settings.model_fields_set:
        model["model_reliability"] = reliability
    return settings.model_copy(update=model)


async def _serve(
    app: FastAPI,
    listener: socket.socket,
    *,
    drain_s: int,
    started: Callable[[], None],
    until: Sequence[Callable[[], Coroutine[None, None, object]]],
) -> None:
    """Serve `app` until it ends by itself or one of `until` comes to its end."""
    server = _Server(_config(app, drain_s=drain_s))
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    ends = [asyncio.ensure_future(end()) for end in until]
    try:
        await _listens(server, serving)
        started()
        await asyncio.wait([serving, *ends], return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        if isinstance(house := getattr(app.state, "house", None), House):
            await house.batches.finish()
        await serving


def _config(app: FastAPI, *, drain_s: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        http=BoundedHTTP,
        ws="none",  # nothing here speaks it, whichever library is installed
        lifespan="on",
        timeout_graceful_shutdown=drain_s,
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


@asynccontextmanager
async def _signals() -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    both = (signal.SIGINT, signal.SIGTERM)
    for each in both:
        loop.add_signal_handler(each, stopped.set)
    try:
        yield stopped
    finally:
        for each in both:
            loop.remove_signal_handler(each)


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
