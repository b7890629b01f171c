"""Options that several commands have, and the settings behind them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from cap_client import SharedOptions
from cap_server.secret_files import SecretFileError
from cap_server.settings import Settings
from cap_server.strategies import STRATEGIES
from cap_server.strategy_text import strategy_of

Url = Annotated[
    str | None,
    typer.Option(
        envvar="CAP_BASE_URL", help="The CaP server; the one at CAP_PORT here when not given."
    ),
]

ApiKey = Annotated[
    str | None, typer.Option(envvar="CAP_API_KEY", help="Where the server wants one.")
]


def _names(incomplete: str) -> list[str]:
    """For the shell's completion."""
    return [name for name in STRATEGIES if name.startswith(incomplete)]


StrategyText = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        help="A strategy: 'single', 'majority:programs=12,overrule=0.7'.",
        autocompletion=_names,
    ),
]

StrategyTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy",
        help="As `cap refine` takes it; repeat it to compare.",
        autocompletion=_names,
    ),
]

StrategyName = Annotated[
    str | None, typer.Argument(help="One of them, with its parameters.", autocompletion=_names)
]

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]

Seed = Annotated[int | None, typer.Option(help="Makes the request repeatable.")]

Deadline = Annotated[float | None, typer.Option(help="Seconds, for each question.")]

Candidates = Annotated[bool, typer.Option("--candidates", help="Show every draw.")]

_err = Console(stderr=True)


def settings_of(**overrides: object) -> Settings:
    """The settings, what the command line names first; exits where one is wrong."""
    try:
        return Settings(**without_unset(**overrides))
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"][:1])
            variable = f"CAP_{name.upper()}: " if name else ""
            _err.print(f"[red]{escape(variable + fault['msg'])}[/]")
        raise typer.Exit(2) from None
    except SecretFileError as error:
        _err.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise typer.Exit(2) from None


def parsed_strategy(text: str | None) -> dict[str, Any] | None:
    """A strategy as the API takes it; exits where `text` is none."""
    if text is None:
        return None
    try:
        return strategy_of(text)
    except ValueError as error:
        _err.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        raise typer.Exit(2) from None


def shared_options(
    strategy: str | None, *, seed: int | None, deadline: float | None, candidates: bool
) -> SharedOptions:
    """How a command's rows are refined, as the API takes it; exits where a strategy is none."""
    return {
        "strategy": parsed_strategy(strategy),
        "sampling": {"seed": seed} if seed is not None else None,
        "budget": {"deadline_s": deadline} if deadline is not None else None,
        "include": ["candidates"] if candidates else None,
    }


def without_unset(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
