"""What one process of a job does: parts, one after another, from the input to the output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from pydantic import SecretStr

from cap_client import Client, Retries, SharedOptions
from cap_server.bulk.columns import Columns
from cap_server.bulk.entries import Entry, entries_of_lines, entry_of
from cap_server.bulk.job import Job, Part
from cap_server.bulk.part import OutRow, dead_letter, out_row, refine_part, tally_of
from cap_server.bulk.places import TABLES, Place
from cap_server.bulk.rows import BulkError
from cap_server.bulk.run import Tally
from cap_server.bulk.tables import TableReader, rows_in, table_of


@dataclass(frozen=True, slots=True)
class Work:
    """What every process of a job is told.

    Attributes:
        output: where its rows go.
        url: the server's, as all of its machines reach it.
        patience: how long a server that is busy or away is waited for.
    """

    job: Job
    output: str
    columns: Columns
    shared: SharedOptions
    url: str
    api_key: SecretStr | None
    patience: Retries


@dataclass(frozen=True, slots=True)
class Done:
    """A part that is done. Attributes: tally: skipped are rows that an earlier run answered."""

    number: int
    tally: Tally


def work_on(parts: Iterable[Part], work: Work) -> Iterator[Done]:
    """Do `parts`, those that follow each other in a file in one pass.

    Raises:
        BulkError: a file cannot be read or written.
        CapError: the server refuses all rows, or is gone for long.
    """
    key = work.api_key.get_secret_value() if work.api_key else None
    with (
        closing(TableReader(work.columns)) as reader,
        Client(work.url, key, retries=work.patience) as client,
    ):
        for part in parts:
            yield _done(part, work, client, reader)


def _done(part: Part, work: Work, client: Client, reader: TableReader) -> Done:
    output = Place.at(work.output)
    # Ray does a part again whose machine it lost: all but its report may be there.
    written = output.read(part.file)
    before = rows_in(written, name=f"{output.name}/{part.file}") if written else []
    earlier = {row["row"]: row for row in before if row["status"] == 200}
    if before and len(earlier) == len(before):
        output.delete(part.dead)
        return Done(part.number, Tally(rows=part.rows, skipped=part.rows))
    entries = _entries(part, work, reader)
    left = [entry for entry in entries if entry.number not in earlier]
    named = partial(work.job.batch_key, part)
    items = refine_part(left, client, work.shared, named=named)
    fresh: dict[object, OutRow] = {
        entry.number: out_row(part.name, entry.number, items[entry.number]) for entry in left
    }
    rows = [(earlier | fresh)[entry.number] for entry in entries]
    dead = [
        dead_letter(part.name, entry, items[entry.number])
        for entry in left
        if items[entry.number].refinement is None
    ]
    # The rows come second: with them the part is done.
    if dead:
        output.write(part.dead, b"".join(dead))
    output.write(part.file, table_of(rows))
    if not dead:
        output.delete(part.dead)
    tally = tally_of(list(fresh.values()))
    tally.rows, tally.skipped = part.rows, len(earlier)
    return Done(part.number, tally)


def _entries(part: Part, work: Work, reader: TableReader) -> list[Entry]:
    place, columns, shared = Place.at(part.at), work.columns, work.shared
    if part.path.endswith(TABLES):
        read = reader.rows(place, part.path, first=part.first, rows=part.rows)
        return [
            entry_of(row, number, columns=columns, shared=shared)
            for number, row in enumerate(read, part.first)
        ]
    with place.opened(part.path, start=part.start) as file:
        content = file.read(part.size)
    entries = entries_of_lines(content, part, columns=columns, shared=shared)
    if len(entries) != part.rows:
        raise BulkError(f"{part.name} has changed since the job began.")
    return entries
