"""The server as a process: alone, or together with the engine that it needs.

Whatever ends one ends the other: a signal, the engine's death, the server's. Nothing stays behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext

import uvicorn

from cap_server.app import create_app, open_tools
from cap_server.engine import Engine, EngineOptions
from cap_server.settings import Settings

_GRACE_S = 10


class ServingError(Exception):
    """Why the server could not run; the message is for the operator."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: `_signals` handles them for server and engine together."""
        yield


async def serve(settings: Settings, *, started: Callable[[], None]) -> None:
    """Run the server until a signal ends it.

    Args:
        settings: the operator's.
        started: called once the server listens.

    Raises:
        ServingError: the address is taken or not ours.
        PoolError: the sandbox cannot start on this machine.
    """
    async with _signals() as stopped:
        await _serve(settings, started=started, until=[stopped.wait()])


async def up(
    settings: Settings,
    options: EngineOptions,
    *,
    progress: Callable[[str], None],
    started: Callable[[], None],
) -> None:
    """Run engine and server until a signal, or the end of either, ends both.

    Raises:
        EngineError: vLLM did not start, or ended while the server ran.
        ServingError: see `serve`.
        PoolError: see `serve`.
    """
    async with _signals() as stopped, Engine(options) as engine:
        timeout_s = settings.engine_timeout_s
        if not await _unless(stopped, engine.ready(timeout_s=timeout_s, progress=progress)):
            return
        await _serve(settings, started=started, until=[stopped.wait(), engine.wait()])
        if not stopped.is_set():
            raise engine.died()


async def _serve(
    settings: Settings, *, started: Callable[[], None], until: list[Awaitable[object]]
) -> None:
    with _listening(settings.host, settings.port) as listener:
        async with open_tools(settings) as tools:
            server = _Server(_config(create_app(settings, tools=nullcontext(tools))))
            serving = asyncio.ensure_future(server.serve(sockets=[listener]))
            ends = [asyncio.ensure_future(each) for each in until]
            try:
                await _listens(server, serving)
                started()
                await asyncio.wait([serving, *ends], return_when=asyncio.FIRST_COMPLETED)
            finally:
                server.should_exit = True
                for end in ends:
                    end.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
                await serving


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # uvicorn's own type of an ASGI app is narrower than FastAPI
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_S,
    )


async def _listens(server: uvicorn.Server, serving: asyncio.Future[None]) -> None:
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ServingError(
            f"Cannot listen on {host}:{port}: {error.strerror}. "
            "CAP_HOST and CAP_PORT (--host, --port) choose another address."
        ) from error
    with contextlib.closing(listener):
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
