"""`cap bulk`: files of any size through a running server, on Ray Data."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape

from cap_client import Retries
from cap_server.bulk.columns import Columns
from cap_server.bulk.job import DEAD
from cap_server.bulk.rows import BulkError
from cap_server.bulk.run import Tally
from cap_server.bulk_cli import GOES_ON, check_ready, interrupted, refining, summary
from cap_server.cli_client import REFUSED, WRONG_USAGE, client_of, fail, failures_told
from cap_server.cli_options import (
    ApiKey,
    Candidates,
    Deadline,
    Seed,
    StrategyText,
    Url,
    settings_of,
    shared_options,
)

if TYPE_CHECKING:
    from cap_server.bulk.plan import Plan
    from cap_server.bulk.worker import Work

BULK_EXIT_CODES = """\
Exit codes: 0 every row was refined; 1 some failed, or the server refused all; 2 wrong usage;
5 the server cannot be reached, or is gone; 130 Ctrl-C."""

_NEEDS_RAY = "cap bulk needs Ray: pip install 'cap-refine[ray]'"

_PATIENCE = Retries(tries=1_000_000, within_s=900, longest_s=20)
"""A quarter of an hour from the last answer on: a model takes minutes to be loaded again."""

_err = Console(stderr=True)


def bulk_(
    input_: Annotated[
        list[str],
        typer.Option(
            "--input",
            help="Parquet or JSON lines, a file or a folder of them: a path, or a URL "
            "(s3://, gs://, …). Repeat it for more.",
        ),
    ],
    output: Annotated[
        str, typer.Option(help="A folder, new or this job's: a path, or a URL. Gets Parquet.")
    ],
    strategy: StrategyText = None,
    seed: Seed = None,
    deadline: Deadline = None,
    candidates: Candidates = False,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Where a column has another name: cot=response. Repeat it for more."),
    ] = None,
    ignore_others: Annotated[
        bool, typer.Option("--ignore-others", help="Leave out columns that are no row's field.")
    ] = False,
    rows_per_part: Annotated[
        int, typer.Option(help="Rows that are kept together, in a file.", min=1, max=1000)
    ] = 500,
    at_once: Annotated[
        int, typer.Option(help="Parts under way at once; each is one batch.", min=1, max=4096)
    ] = 4,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            envvar="RAY_ADDRESS",
            help="A Ray cluster's address, or 'auto'; unset: this machine alone.",
        ),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Refine any number of rows, on one machine or many; the same command goes on after a kill."""
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        fail(_NEEDS_RAY, code=WRONG_USAGE)
    # Not at the top: Ray takes seconds to import, and may not be there.
    from cap_server.bulk.on_ray import Stopped
    from cap_server.bulk.plan import plan
    from cap_server.bulk.worker import Work

    shared = shared_options(strategy, seed=seed, deadline=deadline, candidates=candidates)
    tally, began = Tally(), time.monotonic()
    with client_of(url, api_key, settings_of()) as client:
        try:
            columns = Columns.of(column or [], ignore_others=ignore_others)
            planned = plan(
                input_, output, columns=columns, shared=shared, rows_per_part=rows_per_part
            )
            if planned.left:
                with failures_told(client.base_url):
                    check_ready(client)
            key = SecretStr(api_key) if api_key else None
            work = Work(planned.job, output, columns, shared, client.base_url, key, _PATIENCE)
            _refine(planned, work, tally, address=ray, at_once=at_once)
        except BulkError as error:
            fail(str(error), code=WRONG_USAGE)
        except Stopped as error:
            fail(f"{error} {GOES_ON}", code=error.code)
        except KeyboardInterrupt:
            interrupted()
        finally:
            if tally.rows:
                _err.print(summary(tally, time.monotonic() - began), soft_wrap=True)
    if tally.failed:
        _err.print(f"Why rows failed: {escape(output)}/{DEAD}", soft_wrap=True)
    raise typer.Exit(REFUSED if tally.failed else 0)


def _refine(planned: Plan, work: Work, tally: Tally, *, address: str | None, at_once: int) -> None:
    from cap_server.bulk.on_ray import ray_at, refined

    tally.rows, tally.skipped = planned.rows, planned.skipped
    if not planned.left:
        return
    with refining(planned.rows) as advance, ray_at(address):
        advance(planned.skipped)
        for done in refined(planned.left, work, at_once=at_once):
            tally.take(done.tally)
            advance(done.tally.rows)
