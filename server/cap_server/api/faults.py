"""What nobody expected: told as the server's own fault, and logged under the request's id.

Starlette's handler for it stands outside of all middleware: its answer had no id, its line in the
log neither, and nothing counted it.
"""

from __future__ import annotations

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cap_server.api.errors import INTERNAL, error_response
from cap_server.errors import CapError

_log = structlog.get_logger(__name__)


class Faults:
    """ASGI middleware. Within `AccessLog` and `ObservedRequests`, which read what it tells."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception as error:
            if begun:
                raise  # there is no taking back; the server ends the connection
            _log.error("fault", exc_info=error)
            await error_response(CapError(INTERNAL))(scope, receive, send)
