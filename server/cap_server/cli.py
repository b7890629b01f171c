"""The `cap` command."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cap_sandbox import PoolError
from cap_server import __version__, terminal
from cap_server.app import create_app
from cap_server.chat_cli import CHAT_EXIT_CODES, chat_
from cap_server.cli_client import fail
from cap_server.cli_options import AsJson, settings_of
from cap_server.engine import EngineError, EngineOptions, runs_on_gpu
from cap_server.eval_cli import eval_
from cap_server.example import EXAMPLE
from cap_server.job_cli import BULK_EXIT_CODES, bulk_
from cap_server.keys import Access
from cap_server.keys_cli import keys_cli
from cap_server.logs import configure_logs
from cap_server.refine_cli import EXIT_CODES, refine_
from cap_server.sandbox_cli import sandbox_cli
from cap_server.secrecy import HIDDEN, secrets_of, without_credentials
from cap_server.serving import ServingError, serve, up
from cap_server.settings import Settings
from cap_server.stores import place_of
from cap_server.strategies_cli import strategies_
from cap_server.unfailing import Unfailing

_MEANING_OF: dict[Access, str] = {
    "keys": "Callers need an API key.",
    "unknown": "[yellow]The database with the API keys does not answer: until it does, only "
    "keys of CAP_API_KEYS are accepted.[/]",
    "loopback": "No API keys: only this machine can use it.",
    "open": "[bold yellow]Open: no API keys, and whoever reaches it can use it.[/] "
    "POST /v1/execute is off.",
}

_NOTHING_STORED = (
    "[yellow]Nothing can be stored in {place}, for now: what is learned of sources stays in "
    "memory, and batches cannot be continued. The log says why.[/]"
)

cli = typer.Typer(
    help="Refine any model's chain of thought with programs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cli.add_typer(keys_cli, name="keys")
cli.add_typer(sandbox_cli, name="sandbox")
cli.command("refine", epilog=EXIT_CODES)(refine_)
cli.command("bulk", epilog=BULK_EXIT_CODES)(bulk_)
cli.command("chat", epilog=CHAT_EXIT_CODES)(chat_)
cli.command("strategies")(strategies_)
cli.command("eval", epilog="Exit codes: 0 done; 1 it could not go on; 2 wrong usage.")(eval_)
_out = Console()
_err = Console(stderr=True)

Host = Annotated[str | None, typer.Option(help="Address to listen on.  [CAP_HOST]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.  [CAP_PORT]")]
Open = Annotated[
    bool, typer.Option("--open", help="Without keys, serve whoever reaches it.  [CAP_OPEN]")
]


def main() -> None:
    """Run the command line."""
    sys.stderr = Unfailing(sys.stderr)
    cli()


@cli.command("up")
def up_(
    model: Annotated[
        Path | None, typer.Option(help="Folder of the model to serve.  [CAP_ENGINE_MODEL]")
    ] = None,
    host: Host = None,
    port: Port = None,
    engine_port: Annotated[
        int | None, typer.Option(help="vLLM's port on 127.0.0.1.  [CAP_ENGINE_PORT]")
    ] = None,
    open_: Open = False,
) -> None:
    """Start vLLM with the CaP model, and the server. Ctrl-C stops both."""
    settings = settings_of(
        host=host, port=port, engine_model=model, engine_port=engine_port, open=open_ or None
    )
    _configure_logs(settings)
    options = EngineOptions(
        python=settings.engine_python,
        model=settings.engine_model,
        served_name=settings.engine_model.resolve().name,
        port=settings.engine_port,
        log=settings.state_dir / f"engine-{settings.engine_port}.log",
        cache=settings.state_dir / "engine-cache",
        gpu=runs_on_gpu(settings.engine_python),
    )
    waiting = terminal.Waiting(_err)
    try:
        started = partial(_started, settings, waiting)
        _run(up(settings, options, progress=waiting, started=started))
    finally:
        waiting.done()


@cli.command("serve")
def serve_(host: Host = None, port: Port = None, open_: Open = False) -> None:
    """Start the server alone, against the model at CAP_MODEL_URL."""
    settings = settings_of(host=host, port=port, open=open_ or None)
    _configure_logs(settings)
    waiting = terminal.Waiting(_err)
    _run(serve(settings, started=partial(_started, settings, waiting)))


@cli.command("config")
def config_(as_json: AsJson = False) -> None:
    """Print the settings and where each comes from; secrets are hidden."""
    settings = settings_of()
    rows = [_setting(settings, name) for name in Settings.model_fields]
    if as_json:
        sys.stdout.write(json.dumps({row["variable"]: row for row in rows}, indent=2) + "\n")
        return
    table = Table(box=None, header_style="bold")
    # Whole, however narrow the terminal: it is there to be copied.
    table.add_column("variable", min_width=max(len(row["variable"]) for row in rows))
    for column in ("value", "set by", "meaning"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            *(escape(str(row[key])) for key in ("variable", "value", "set_by", "meaning"))
        )
    _out.print(table)


@cli.command("openapi")
def openapi_() -> None:
    """Print the API's description, for generators of clients."""
    described = create_app(settings_of()).openapi()
    sys.stdout.write(json.dumps(described, indent=1, ensure_ascii=False) + "\n")


@cli.command("version")
def version_() -> None:
    """Print the version."""
    _out.print(__version__)


def _configure_logs(settings: Settings) -> None:
    configure_logs(settings.log_level, content=settings.log_content, secrets=secrets_of(settings))


def _run(work: Coroutine[None, None, None]) -> None:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except (ServingError, EngineError, PoolError) as error:
        fail(str(error), code=1)


def _started(
    settings: Settings, waiting: terminal.Waiting, access: Access, *, stores: bool
) -> None:
    waiting.done()
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    _err.print(
        f"[bold green]CaP server is ready[/] at {url}  (open it in a browser to play; "
        f"API documentation: {url}/docs)",
        soft_wrap=True,
    )
    _err.print(_MEANING_OF[access])
    if not stores:
        _err.print(_NOTHING_STORED.format(place=escape(place_of(settings))), soft_wrap=True)
    _err.print("\nTry it in another terminal:\n")
    _err.print(EXAMPLE.curl(url), markup=False, highlight=False, soft_wrap=True)
    _err.print("\nCtrl-C stops it.")


def _setting(settings: Settings, name: str) -> dict[str, Any]:
    value = getattr(settings, name)
    shown = None if value is None else without_credentials(str(value))
    if isinstance(value, SecretStr):
        shown = HIDDEN
    return {
        "variable": f"CAP_{name.upper()}",
        "value": shown,
        "set_by": "environment" if name in settings.model_fields_set else "default",
        "meaning": Settings.model_fields[name].description,
    }
