"""The `cap` command."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer
import uvloop
from pydantic import SecretStr, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cap_sandbox import PoolError
from cap_server import __version__, terminal
from cap_server.cli_options import ApiKey, Url, server_at
from cap_server.engine import EngineError, EngineOptions, runs_on_gpu
from cap_server.eval_cli import eval_
from cap_server.example import EXAMPLE
from cap_server.keys import Access
from cap_server.keys_cli import keys_cli
from cap_server.logs import configure_logs
from cap_server.sandbox_cli import sandbox_cli
from cap_server.secret_files import SecretFileError
from cap_server.serving import ServingError, serve, up
from cap_server.settings import Settings
from cap_server.strategy_text import strategy_of

_EXIT_CODES = """\
Exit codes: 0 an answer was confirmed, corrected or found; 1 the server refused or failed;
2 wrong usage; 3 kept: the evidence is too weak; 4 unresolved: no program came to an answer;
5 the server cannot be reached."""

_OF_DECISION = {"confirmed": 0, "corrected": 0, "answered": 0, "kept": 3, "unresolved": 4}

_MEANING_OF: dict[Access, str] = {
    "keys": "Callers need an API key.",
    "unknown": "[yellow]The database with the API keys does not answer: until it does, only "
    "keys of CAP_API_KEYS are accepted.[/]",
    "loopback": "No API keys: only this machine can use it.",
    "open": "[bold yellow]Open: no API keys, and whoever reaches it can use it.[/] "
    "POST /v1/execute is off.",
}

cli = typer.Typer(
    help="Refine any model's chain of thought with programs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cli.add_typer(keys_cli, name="keys")
cli.add_typer(sandbox_cli, name="sandbox")
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
    settings = _settings(
        host=host, port=port, engine_model=model, engine_port=engine_port, open=open_ or None
    )
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
    settings = _settings(host=host, port=port, open=open_ or None)
    waiting = terminal.Waiting(_err)
    _run(serve(settings, started=partial(_started, settings, waiting)))


@cli.command("config")
def config_(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print the settings and where each comes from; secrets are hidden."""
    settings = _settings()
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


@cli.command("refine", epilog=_EXIT_CODES)
def refine_(
    question: Annotated[str, typer.Argument(help="The question; '-' reads it from stdin.")],
    cot: Annotated[
        str | None, typer.Option(help="File with the CoT to refine; '-' reads stdin.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option(help="The answer to refine, where the CoT does not tell it.")
    ] = None,
    choice: Annotated[
        list[str] | None, typer.Option(help="An option of the question; repeat it for each.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="The model that wrote the CoT.")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="A strategy: 'single', 'majority:programs=12,overrule=0.7'.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the request repeatable.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds.")] = None,
    candidates: Annotated[bool, typer.Option("--candidates", help="Show every draw.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="The server's answer, as it is.")] = False,
) -> None:
    """Refine one answer on a running server."""
    body = _without_unset(
        question=_text(question),
        cot=None if cot is None else _read(cot),
        answer=answer,
        choices=choice,
        source=source,
        strategy=None if strategy is None else _strategy(strategy),
        sampling=_without_unset(seed=seed) or None,
        budget=_without_unset(deadline_s=deadline) or None,
        include=["candidates"] if candidates else None,
    )
    refinement = _post(f"{server_at(url, _settings())}/v1/refine", body, api_key=api_key)
    if as_json:
        sys.stdout.write(json.dumps(refinement, ensure_ascii=False, indent=2) + "\n")
    else:
        terminal.show_refinement(_out, refinement)
    raise typer.Exit(_OF_DECISION[refinement["decision"]])


@cli.command("version")
def version_() -> None:
    """Print the version."""
    _out.print(__version__)


def _settings(**overrides: object) -> Settings:
    """The settings, what the command line names first; exits where one is wrong."""
    try:
        return Settings(**_without_unset(**overrides))
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"][:1])
            variable = f"CAP_{name.upper()}: " if name else ""
            _err.print(f"[red]{escape(variable + fault['msg'])}[/]")
        raise typer.Exit(2) from None
    except SecretFileError as error:
        _fail(str(error), code=2)


def _run(work: Coroutine[None, None, None]) -> None:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except (ServingError, EngineError, PoolError) as error:
        _fail(str(error), code=1)


def _started(settings: Settings, waiting: terminal.Waiting, access: Access) -> None:
    waiting.done()
    configure_logs(settings.log_level)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    _err.print(
        f"[bold green]CaP server is ready[/] at {url}  (API documentation: {url}/docs)",
        soft_wrap=True,
    )
    _err.print(_MEANING_OF[access])
    _err.print("\nTry it in another terminal:\n")
    _err.print(EXAMPLE.curl(url), markup=False, highlight=False, soft_wrap=True)
    _err.print("\nCtrl-C stops it.")


def _setting(settings: Settings, name: str) -> dict[str, Any]:
    value = getattr(settings, name)
    shown = None if value is None else str(value)
    if isinstance(value, SecretStr):
        shown = "********"
    return {
        "variable": f"CAP_{name.upper()}",
        "value": shown,
        "set_by": "environment" if name in settings.model_fields_set else "default",
        "meaning": Settings.model_fields[name].description,
    }


def _text(argument: str) -> str:
    return sys.stdin.read() if argument == "-" else argument


def _read(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"--cot {path}: {error}", code=2)


def _strategy(text: str) -> dict[str, Any]:
    try:
        return strategy_of(text)
    except ValueError as error:
        _fail(str(error), code=2)


def _post(url: str, body: dict[str, Any], *, api_key: str | None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    deadline_s = body.get("budget", {}).get("deadline_s", 60)
    try:
        with terminal.waiting(_err, "refining"):
            response = httpx.post(url, json=body, headers=headers, timeout=deadline_s + 30)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        _fail(f"The server at {url} cannot be reached ({error}). Is `cap up` running?", code=5)
    try:
        answer = response.json()
        if response.status_code == httpx.codes.OK:
            return dict(answer)
        fault = answer["error"]
        _fail(f"{response.status_code} {fault['code']}: {fault['message']}", code=1)
    except (ValueError, KeyError, TypeError):
        _fail(f"{url} answered with status {response.status_code}, not as a CaP server.", code=1)


def _fail(message: str, *, code: int) -> NoReturn:
    _err.print(f"[red]{escape(message)}[/]", soft_wrap=True)
    raise typer.Exit(code)


def _without_unset(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
