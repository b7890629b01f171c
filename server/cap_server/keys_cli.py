"""`cap keys`: API keys made, listed and revoked in the server's database; no server need run."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cap_server.domain import Key
from cap_server.errors import NameTakenError, StoreUnavailableError, StoreUnusableError
from cap_server.keys import RIGHTS, digest_of, new_secret
from cap_server.ports import KeyStore
from cap_server.settings import Settings
from cap_server.stores import open_stores, place_of

T = TypeVar("T")

_EPILOG = "Exit codes: 0 done; 1 it could not be; 2 wrong usage."
_MOST_NAME = 100

keys_cli = typer.Typer(help="API keys: who may use the server.", no_args_is_help=True)
_out = Console()
_err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@keys_cli.command("create", epilog=_EPILOG)
def create_(
    name: Annotated[str, typer.Argument(help="Whose it is, or what for.")],
    right: Annotated[
        list[str] | None, typer.Option(help="`execute`: run programs at /v1/execute. Repeat it.")
    ] = None,
    per_minute: Annotated[
        int | None,
        typer.Option(min=0, help="Requests a minute; 0: any.  [CAP_KEY_PER_MINUTE]"),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(min=0, help="Requests under way at once; 0: any.  [CAP_KEY_AT_ONCE]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print its secret, this once. Servers accept it within seconds."""
    wrong = sorted(set(right or ()) - set(RIGHTS))
    if wrong:
        _fail(f"There is no right {wrong[0]!r}; there is {', '.join(RIGHTS)}.", code=2)
    if not 0 < len(name) <= _MOST_NAME or not name.isprintable() or name.startswith("key_"):
        _fail(f"A name has 1 to {_MOST_NAME} printable characters, not 'key_' first.", code=2)
    secret = new_secret()
    key = Key(
        id=f"key_{secrets.token_hex(4)}",
        name=name,
        digest=digest_of(secret),
        rights=frozenset(each for each in RIGHTS if each in (right or ())),
        per_minute=per_minute,
        at_once=at_once,
        created=time.time(),
    )
    place = _with_store(lambda store: store.add(key))[1]
    if as_json:
        sys.stdout.write(json.dumps({**_public(key), "secret": secret}) + "\n")
        return
    _err.print(
        f"Key [bold]{escape(name)}[/] ({key.id}) is in {escape(place)}. "
        "Its secret, which is shown only now:",
        soft_wrap=True,
    )
    sys.stdout.write(secret + "\n")


@keys_cli.command("list", epilog=_EPILOG)
def list_(as_json: AsJson = False) -> None:
    """Print all keys that were ever made, without their secrets."""
    keys, _ = _with_store(lambda store: store.all())
    if as_json:
        sys.stdout.write(json.dumps([_public(key) for key in keys], indent=2) + "\n")
        return
    table = Table(box=None, header_style="bold")
    for column in ("id", "name", "rights", "per minute", "at once", "created", "revoked"):
        table.add_column(column, overflow="fold")
    for key in keys:
        limits = (_limit(key.per_minute), _limit(key.at_once))
        days = (_day(key.created), _day(key.revoked))
        row = (key.id, key.name, ", ".join(sorted(key.rights)) or "–", *limits, *days)
        table.add_row(*map(escape, row))
    _out.print(table)


@keys_cli.command("revoke", epilog=_EPILOG)
def revoke_(key: Annotated[str, typer.Argument(help="Its name or id.")]) -> None:
    """Have servers refuse a key, within seconds. Requests that are under way end as they would."""
    revoked, _ = _with_store(lambda store: store.revoke(key))
    if revoked is None:
        _fail(f"No key that is accepted now is named {key!r}; see `cap keys list`.", code=1)
    _err.print(f"Revoked [bold]{escape(revoked.name)}[/] ({revoked.id}).")


@keys_cli.command("hash", epilog=_EPILOG)
def hash_() -> None:
    """Read a secret from stdin and print what may stand for it in CAP_API_KEYS."""
    secret = sys.stdin.readline().strip()
    if not secret:
        _fail("Write the secret to stdin, on one line.", code=2)
    sys.stdout.write(f"sha256:{digest_of(secret)}\n")


def _with_store(work: Callable[[KeyStore], Awaitable[T]]) -> tuple[T, str]:
    """What `work` returns, and where the keys are; exits where that fails."""
    try:
        settings = Settings()
    except ValidationError as error:
        _fail("; ".join(fault["msg"] for fault in error.errors()), code=2)
    place = place_of(settings)

    async def done() -> T:
        with open_stores(settings) as stores:
            return await work(stores.keys)

    try:
        return asyncio.run(done()), place
    except StoreUnusableError as error:
        _fail(f"{place} cannot be used. {error.message}", code=1)
    except StoreUnavailableError:
        _fail(f"The database {place} does not answer.", code=1)
    except NameTakenError as error:
        _fail(error.message, code=1)


def _public(key: Key) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(key).items() if name != "digest"}
    return {**fields, "rights": sorted(key.rights)}


def _limit(value: int | None) -> str:
    return "default" if value is None else str(value or "any")


def _day(seconds: float | None) -> str:
    return "–" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _fail(message: str, *, code: int) -> NoReturn:
    _err.print(f"[red]{escape(message)}[/]", soft_wrap=True)
    raise typer.Exit(code)
