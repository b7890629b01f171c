"""The server on Ray Serve: replicas that grow with the requests under way.

    PYTHONPATH=deploy/ray serve run deploy/ray/serve.yaml

A replica is what `cap serve` runs: the same app, put together by the same code from the same
`CAP_*` variables. It owns its sandbox, as the server on one machine does: programs run on the
replica's machine under every layer of the jail, or at CAP_SANDBOX_URL, a `cap-sandbox serve` on
machines of its own. Actors would be no third way: a program's two milliseconds would go through
Ray's scheduler and its pickles, and whoever broke out of one would stand in the same cluster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from fastapi import FastAPI
from ray import serve

from cap_server.app import create_app
from cap_server.garbage import settle
from cap_server.logs import configure_logs
from cap_server.secrecy import secrets_of
from cap_server.serving import can_store
from cap_server.settings import Settings
from cap_server.stores import open_stores


def build() -> FastAPI:
    """The app of one replica; Ray Serve calls it there.

    Raises:
        ValidationError: a CAP_* variable is wrong.
    """
    settings = Settings()
    if "host" not in settings.model_fields_set:
        # Serve's proxies listen, and where they do is not known here: without keys nobody comes
        # in, unless CAP_HOST says that they are on loopback or CAP_OPEN that everyone may.
        settings = settings.model_copy(update={"host": "0.0.0.0"})
    configure_logs(settings.log_level, content=settings.log_content, secrets=secrets_of(settings))
    kept = ExitStack()
    stores = kept.enter_context(open_stores(settings))
    served = create_app(settings, stores=stores)
    runs = served.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with kept:
            await can_store(settings, stores)
            async with runs(app):
                settle()
                yield

    served.router.lifespan_context = lifespan
    return served


app = serve.deployment(name="Server")(serve.ingress(build)()).bind()
