"""The sandbox as a service of its own: `cap-sandbox serve`, HTTP on TCP or on a Unix socket.

It has no keys: whoever reaches it may run programs. It needs nothing of the server, so that its
container can hold this package, its maths and h11 alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from cap_sandbox.check import check
from cap_sandbox.connection import Connection, RefusedError, Request, Response, refusal
from cap_sandbox.errors import PoolError, QueueFullError
from cap_sandbox.figures import exposition
from cap_sandbox.pool import Pool
from cap_sandbox.protocol import MAX_PROGRAM_BYTES, Limits
from cap_sandbox.wire import InvalidRequestError, decode_request, encode_execution

# JSON writes one byte of a program as at most six.
_MAX_BODY_BYTES = 6 * MAX_PROGRAM_BYTES + 4096
_READY_S = 5.0
_ENDING = (signal.SIGTERM, signal.SIGINT)
_UNIX = "unix://"
_PROBE = "answer = 6 * 7"

Route = Callable[[Request], Awaitable[Response]]


class Service:
    """Answers HTTP requests with a pool.

    Args:
        pool: started, and stopped by whoever started it.
        max_connections: connections that are open at once; more are turned away.
    """

    def __init__(self, pool: Pool, *, max_connections: int = 2048) -> None:
        self._pool = pool
        self._max_connections = max_connections
        self._serving: dict[asyncio.Task[None], bool] = {}
        self._draining = False
        self._routes: dict[str, tuple[str, Route]] = {
            "/execute": ("POST", self._execute),
            "/health": ("GET", self._health),
            "/ready": ("GET", self._ready),
            "/metrics": ("GET", self._metrics),
        }

    @asynccontextmanager
    async def listening(self, bind: str, *, drain_s: float = 25.0) -> AsyncIterator[str]:
        """Listen at `bind`, `HOST:PORT` or `unix:///PATH`, and yield the URL that leads there.

        At the end nothing new is taken, and what runs has `drain_s` to come to its end.
        """
        server = await self._listen(bind)
        try:
            yield _url(bind, server)
        finally:
            server.close()
            await self._drain(drain_s)
            if bind.startswith(_UNIX):
                with suppress(FileNotFoundError):
                    os.unlink(bind.removeprefix(_UNIX))

    async def _listen(self, bind: str) -> asyncio.Server:
        if bind.startswith(_UNIX):
            return await asyncio.start_unix_server(self._accept, bind.removeprefix(_UNIX))
        host, _, port = bind.rpartition(":")
        return await asyncio.start_server(self._accept, host.strip("[]"), int(port))

    async def _drain(self, drain_s: float) -> None:
        self._draining = True
        for task, busy in self._serving.items():
            if not busy:
                task.cancel()
        if self._serving:
            await asyncio.wait(self._serving, timeout=drain_s)
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, max_body_bytes=_MAX_BODY_BYTES)
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = False
        try:
            if len(self._serving) > self._max_connections:
                busy = refusal(503, "too_many_connections", "Too many clients.", retry_after_s=1)
                await connection.send(busy, last=True)
            else:
                await self._serve(connection, task)
        except (OSError, asyncio.CancelledError):
            # The client left, or the service ends.
            return
        finally:
            del self._serving[task]
            connection.close()

    async def _serve(self, connection: Connection, task: asyncio.Task[None]) -> None:
        goes_on = True
        while goes_on and not self._draining:
            self._serving[task] = False
            try:
                request = await connection.next_request()
            except RefusedError as error:
                await connection.send(error.response, last=True)
                return
            if request is None:
                return
            self._serving[task] = True
            response = await _unless_gone(connection, self._respond(request))
            if response is None:
                return
            goes_on = await connection.send(response, last=self._draining)

    async def _respond(self, request: Request) -> Response:
        if request.path not in self._routes:
            return refusal(404, "refused", f"There are {', '.join(self._routes)}.")
        method, route = self._routes[request.path]
        if request.method != method:
            return refusal(405, "refused", f"{request.path} takes {method}.")
        return await route(request)

    async def _execute(self, request: Request) -> Response:
        # Not what a page in someone's browser can send to another site unasked.
        if "json" not in request.content_type:
            return refusal(415, "unsupported_media_type", "Send JSON, and declare it as such.")
        try:
            program, limits = decode_request(request.body)
            execution = await self._pool.execute(program, limits=limits, client=request.client)
        except InvalidRequestError as error:
            return refusal(422, "invalid_value", str(error), param=error.param)
        except QueueFullError:
            return refusal(503, "queue_full", "Too many programs are waiting.", retry_after_s=1)
        except PoolError:
            message = "The sandbox cannot run programs now."
            return refusal(503, "sandbox_unavailable", message, retry_after_s=5)
        return Response(200, encode_execution(execution))

    async def _health(self, request: Request) -> Response:
        return Response(200, {"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        """Whether a program runs now, and how well it is shut in."""
        ready = await self._runs_a_program()
        shut_in = {"tier": self._pool.tier, "layers": dict(self._pool.layers)}
        return Response(200 if ready else 503, {"ready": ready, **shut_in})

    async def _metrics(self, request: Request) -> Response:
        return Response(200, exposition(self._pool.figures()))

    async def _runs_a_program(self) -> bool:
        try:
            async with asyncio.timeout(_READY_S):
                execution = await self._pool.execute(_PROBE, limits=Limits())
        except (PoolError, TimeoutError):
            return False
        return execution.value is not None and execution.value.text == "42"


async def _unless_gone(connection: Connection, work: Awaitable[Response]) -> Response | None:
    """Do `work` unless the client leaves; then cancel it and return None."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(connection.gone())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


def _url(bind: str, server: asyncio.Server) -> str:
    if bind.startswith(_UNIX):
        return bind
    host, port, *_ = server.sockets[0].getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(options: Namespace) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stopped = asyncio.Event()
    for number in _ENDING:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    pool = Pool(
        workers=options.workers,
        max_queue=options.queue,
        memory_bytes=options.memory_bytes,
        allow_weak=options.allow_weak,
    )
    async with pool:
        service = Service(pool, max_connections=2 * options.queue)
        async with service.listening(options.bind, drain_s=options.drain_s) as url:
            _say(f"The sandbox is ready at {url} (tier {pool.tier}, {options.workers} workers)")
            await stopped.wait()
            _say("The sandbox ends what runs")
            for number in _ENDING:  # the next one ends it at once, and the kernel what it started
                asyncio.get_running_loop().remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)


async def _check(options: Namespace) -> int:
    report = await check()
    sys.stdout.write((report.as_json() if options.json else report.as_text()) + "\n")
    return 0 if report.holds else 1


def main() -> None:
    """Run the command line."""
    options = _parser().parse_args()
    try:
        if options.command == "check":
            sys.exit(asyncio.run(_check(options)))
        asyncio.run(serve(options))
    except (PoolError, OSError) as error:
        sys.exit(f"cap-sandbox: {error}")


def _parser() -> ArgumentParser:
    parser = ArgumentParser("cap-sandbox", description="Runs untrusted Python programs.")
    commands = parser.add_subparsers(dest="command", required=True)
    looks = commands.add_parser("check", help="what this machine grants, and whether it holds")
    looks.add_argument("--json", action="store_true", help="for machines")
    serves = commands.add_parser(
        "serve", help="run programs for others", formatter_class=ArgumentDefaultsHelpFormatter
    )
    serves.add_argument("--bind", default="127.0.0.1:8002", help="HOST:PORT or unix:///PATH")
    workers = int(os.environ.get("CAP_SANDBOX_WORKERS") or len(os.sched_getaffinity(0)))
    serves.add_argument("--workers", type=int, default=workers, help="programs that run at once")
    serves.add_argument(
        "--memory-bytes",
        type=int,
        default=int(os.environ.get("CAP_SANDBOX_MEMORY_BYTES") or 0) or None,
        help="of all programs that run, together; 3/4 of what is free at start when not given",
    )
    serves.add_argument("--queue", type=int, default=1024, help="programs that may wait")
    serves.add_argument("--drain-s", type=float, default=25.0, help="seconds to end what runs")
    serves.add_argument(
        "--allow-weak",
        action="store_true",
        default=os.environ.get("CAP_SANDBOX_ALLOW_WEAK", "").lower() in ("1", "true", "yes", "on"),
        help="start even where the kernel offers no seccomp filter  [CAP_SANDBOX_ALLOW_WEAK]",
    )
    return parser


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
