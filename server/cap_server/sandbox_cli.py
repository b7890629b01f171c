"""`cap sandbox`: what an operator asks of this machine's sandbox."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from cap_sandbox import PoolError
from cap_sandbox.check import check

sandbox_cli = typer.Typer(help="This machine's sandbox.", no_args_is_help=True)


@sandbox_cli.callback()
def sandbox_() -> None:
    """This machine's sandbox."""


@sandbox_cli.command("check", epilog="Exit codes: 0 it holds; 1 it does not, or does not start.")
def check_(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print the layers that this machine grants, and whether they hold harmless probes."""
    try:
        report = asyncio.run(check())
    except PoolError as error:
        sys.stderr.write(f"The sandbox does not start: {error}\n")
        raise typer.Exit(1) from None
    sys.stdout.write((report.as_json() if as_json else report.as_text()) + "\n")
    raise typer.Exit(0 if report.holds else 1)
