"""How commands speak to a server, and what they say when it does not answer as they wish."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from cap_client import CapError as ClientError
from cap_client import Client, NotCapServerError, Retries, StatusError, UnreachableError
from cap_server.settings import Settings

REFUSED, WRONG_USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 5, 130
"""Exit codes that all commands share; the last is a shell's for Ctrl-C."""

AT_ONCE = Retries(unreachable=False)
"""Whoever waits at a terminal is told at once that there is no server."""


_err = Console(stderr=True)


def server_at(url: str | None, settings: Settings) -> str:
    """The root of the server that a command speaks to."""
    return (url or f"http://127.0.0.1:{settings.port}").rstrip("/")


def client_of(
    url: str | None, api_key: str | None, settings: Settings, *, retries: Retries = AT_ONCE
) -> Client:
    """A client of the server that the options name; exits where they cannot be right."""
    try:
        return Client(server_at(url, settings), api_key, retries=retries)
    except ValueError as error:
        fail(str(error), code=WRONG_USAGE)


@contextmanager
def failures_told(url: str, *, goes_on: str = "") -> Iterator[None]:
    """Ends the command with a message and an exit code where the client fails.

    Args:
        url: the server's.
        goes_on: what to do next where the server is gone.
    """
    try:
        yield
    except ClientError as error:
        message, code = told(error, url=url)
        fail(f"{message} {goes_on}" if code == UNREACHABLE and goes_on else message, code=code)


def told(error: ClientError, *, url: str) -> tuple[str, int]:
    """What a person is told of `error`, and the exit code."""
    if isinstance(error, UnreachableError):
        lost = "broke off" if error.sent else "cannot be reached"
        return f"The server at {url} {lost} ({error}). Is `cap up` running?", UNREACHABLE
    if isinstance(error, NotCapServerError):
        return f"{url} is no CaP server of this version: {error}.", REFUSED
    assert isinstance(error, StatusError), "there are no others"
    return str(error), REFUSED


def fail(message: str, *, code: int) -> NoReturn:
    _err.print(f"[red]{escape(message)}[/]", soft_wrap=True)
    raise typer.Exit(code)
