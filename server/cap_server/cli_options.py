"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from cap_server.settings import Settings

Url = Annotated[
    str | None,
    typer.Option(
        envvar="CAP_BASE_URL", help="The CaP server; the one at CAP_PORT here when not given."
    ),
]

ApiKey = Annotated[
    str | None, typer.Option(envvar="CAP_API_KEY", help="Where the server wants one.")
]


def server_at(url: str | None, settings: Settings) -> str:
    """The root of the server that a command speaks to."""
    return (url or f"http://127.0.0.1:{settings.port}").rstrip("/")
