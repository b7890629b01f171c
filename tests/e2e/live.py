"""A server that really listens, in a thread of its own: what clients of every kind talk to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from tests.ports import listening_socket


@contextmanager
def live(app: FastAPI) -> Iterator[str]:
    """The URL at which `app` listens until the context ends."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
    with listening_socket() as listener:
        serve = server.serve(sockets=[listener])
        thread = threading.Thread(target=lambda: asyncio.run(serve))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
