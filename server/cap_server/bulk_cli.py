"""`cap refine --input`: progress on stderr, a summary, and an exit code that tells failed rows."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cap_client import Client, Retries, SharedOptions
from cap_server.bulk.answers import Answers
from cap_server.bulk.rows import BulkError, Row, rows_of
from cap_server.bulk.run import Bulk, Tally
from cap_server.cli_client import (
    INTERRUPTED,
    REFUSED,
    WRONG_USAGE,
    client_of,
    fail,
    failures_told,
)
from cap_server.settings import Settings

_PATIENT = Retries(tries=100, longest_s=5)
"""A server that restarts in the middle of a long run is waited for, two minutes from its last
answer on."""

GOES_ON = "The same command goes on from here."

_COLUMNS = (TextColumn("refining"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

_err = Console(stderr=True)


def refine_file(
    input_: str,
    output: str,
    shared: SharedOptions,
    *,
    url: str | None,
    api_key: str | None,
    settings: Settings,
) -> None:
    """Refine the rows of `input_` into `output`, and exit."""
    try:
        rows = rows_of(_content(input_), name=_name(input_), shared=shared)
        answers = Answers(sys.stdout.buffer) if output == "-" else Answers.in_file(Path(output))
    except BulkError as error:
        fail(str(error), code=WRONG_USAGE)
    tally, began = Tally(), time.monotonic()
    with client_of(url, api_key, settings, retries=_PATIENT) as client:
        try:
            with failures_told(client.base_url, goes_on=GOES_ON):
                _refine(rows, client, answers, shared, tally)
        except KeyboardInterrupt:
            interrupted()
        finally:
            _err.print(summary(tally, time.monotonic() - began), soft_wrap=True)
            if output != "-":
                answers.close()
    raise typer.Exit(REFUSED if tally.failed else 0)


def _refine(
    rows: list[Row], client: Client, answers: Answers, shared: SharedOptions, tally: Tally
) -> None:
    check_ready(client)
    with refining(len(rows)) as advance:
        Bulk(client, answers, shared, tally, advance=lambda: advance(1)).refine(rows)


@contextmanager
def refining(rows: int) -> Iterator[Callable[[int], None]]:
    """A bar of progress. Yields what is told how many rows are done besides."""
    with Progress(*_COLUMNS, console=_err) as progress:
        task = progress.add_task("refining", total=rows)
        yield lambda done: progress.advance(task, done)


def interrupted() -> NoReturn:
    _err.print("Interrupted; the same command goes on from here.")
    raise typer.Exit(INTERRUPTED)


def check_ready(client: Client) -> None:
    """Exits where no row could be refined: better known now than after every retry."""
    readiness = client.ready()
    for name, check in readiness.checks.items():
        if not check.ready:
            fail(f"The server is not ready: {name}: {check.detail}", code=REFUSED)


def summary(tally: Tally, wall_s: float) -> str:
    decisions = [f"{n} {decision}" for decision, n in tally.decisions.most_common()]
    if tally.failed:
        decisions.append(f"[red]{tally.failed} failed[/]")
    if tally.skipped:
        decisions.append(f"{tally.skipped} were there already")
    told = ", ".join(decisions) or "none refined"
    spent = f"{tally.programs} programs, {tally.tokens} tokens, {wall_s:.1f} s"
    return f"{tally.rows} rows: {told}  [dim]{spent}[/]"


def _content(input_: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if input_ == "-" else Path(input_).read_bytes()
    except OSError as error:
        raise BulkError(f"{input_}: {error.strerror}.") from error


def _name(input_: str) -> str:
    return escape("stdin" if input_ == "-" else input_)
