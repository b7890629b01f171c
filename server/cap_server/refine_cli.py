"""`cap refine`: one answer, or a file of them, through a running server."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cap_client import RefineOptions
from cap_server import terminal
from cap_server.bulk_cli import refine_file
from cap_server.cli_client import WRONG_USAGE, client_of, fail, failures_told
from cap_server.cli_options import (
    ApiKey,
    Candidates,
    Deadline,
    Seed,
    StrategyText,
    Url,
    settings_of,
    shared_options,
    without_unset,
)

EXIT_CODES = """\
Exit codes: 0 an answer was confirmed, corrected or found; 1 the server refused or failed;
2 wrong usage; 3 kept: the evidence is too weak; 4 unresolved: no program came to an answer;
5 the server cannot be reached. With --input: 0 every row was refined; 1 some failed, or the server
refused all; 2 wrong usage; 5 the server cannot be reached; 130 Ctrl-C."""

_OF_DECISION = {"confirmed": 0, "corrected": 0, "answered": 0, "kept": 3, "unresolved": 4}

_out = Console()
_err = Console(stderr=True)


def refine_(
    question: Annotated[
        str | None, typer.Argument(help="The question; '-' reads it from stdin.")
    ] = None,
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
    strategy: StrategyText = None,
    seed: Seed = None,
    deadline: Deadline = None,
    candidates: Candidates = False,
    input_: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="Refine many: JSON lines with question, cot, answer, choices, source, custom_id; "
            "'-' reads stdin.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Where --input's answers go, a line each; rows that it has already are skipped. "
            "'-', the default, is stdout."
        ),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Annotated[bool, typer.Option("--json", help="The server's answer, as it is.")] = False,
) -> None:
    """Refine one answer on a running server, or with --input a file of them."""
    shared = shared_options(strategy, seed=seed, deadline=deadline, candidates=candidates)
    settings = settings_of()
    if input_ is not None:
        _check_alone(question=question, cot=cot, answer=answer, choice=choice, source=source)
        refine_file(input_, output or "-", shared, url=url, api_key=api_key, settings=settings)
        return
    if question is None or output is not None:
        fail("Give a question, or --input FILE with or without --output.", code=WRONG_USAGE)
    options: RefineOptions = {
        **shared,
        "cot": None if cot is None else _read(cot),
        "answer": answer,
        "choices": choice,
        "source": source,
    }
    text = sys.stdin.read() if question == "-" else question
    with (
        client_of(url, api_key, settings) as client,
        failures_told(client.base_url),
        terminal.waiting(_err, "refining"),
    ):
        refinement = client.refine(text, **options)
    if as_json:
        shown = refinement.model_dump(mode="json", exclude_unset=True)
        sys.stdout.write(json.dumps(shown, ensure_ascii=False, indent=2) + "\n")
    else:
        terminal.show_refinement(_out, refinement)
    raise typer.Exit(_OF_DECISION[refinement.decision])


def _check_alone(**options: object) -> None:
    """Exits where an option of one problem stands beside a file of them."""
    if given := list(without_unset(**options)):
        fail(
            f"--input's rows say each their {given[0]}; leave it out of the command.",
            code=WRONG_USAGE,
        )


def _read(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--cot {path}: {error}", code=WRONG_USAGE)
