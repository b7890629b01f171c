"""From files to parts, and from an output to what of them is left."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cap_client import SharedOptions
from cap_server.bulk.columns import Columns
from cap_server.bulk.entries import scan_lines
from cap_server.bulk.job import DEAD, MARK, ROWS, Job, Part, Source, parts_of
from cap_server.bulk.places import TABLES, Place
from cap_server.bulk.rows import BulkError
from cap_server.bulk.tables import measured

_FILES_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """Attributes: rows: of the input; left: parts that are not done, or have rows that failed."""

    job: Job
    rows: int
    left: tuple[Part, ...]

    @property
    def skipped(self) -> int:
        """Rows of the parts that are done."""
        return self.rows - sum(part.rows for part in self.left)


def plan(
    inputs: Sequence[str],
    output: str,
    *,
    columns: Columns,
    shared: SharedOptions,
    rows_per_part: int,
) -> Plan:
    """Look at every file of the input, and at what of the output is there.

    Raises:
        BulkError: a file cannot be read, or the output is another job's.
    """
    place = Place.at(output)
    for at in inputs:
        if f"{place.name}/".startswith(f"{Place.at(at).name}/"):
            raise BulkError(f"{place.name} lies within the input; name another output.")
    sources = _sources(inputs, columns, rows_per_part)
    how = {
        **{name: value for name, value in shared.items() if value is not None},
        "column": {field: column for field, column in columns.named.items() if field != column},
        "ignore_others": columns.ignore_others,
        "rows_per_part": rows_per_part,
    }
    files = {source.name: source.fingerprint for source in sources}
    job = Job(uuid.uuid4().hex, json.loads(json.dumps(how)), files)
    mark = place.read(MARK)
    if mark is None:
        if place.names():
            raise BulkError(f"{place.name} holds something else; name another output.")
        place.write(MARK, job.to_json())
    else:
        before = Job.from_json(mark, name=place.name_of(f"{place.name}/{MARK}"))
        job = job.going_on(before, output=place.name)
    done = place.names(ROWS) - {name.replace(".jsonl", ".parquet") for name in place.names(DEAD)}
    left = [each for each in parts_of(sources) if each.file.removeprefix(f"{ROWS}/") not in done]
    return Plan(job, sum(source.rows for source in sources), tuple(left))


def _sources(inputs: Sequence[str], columns: Columns, rows_per_part: int) -> list[Source]:
    places = {each: Place.at(each) for each in inputs}
    found = [(at, path) for at, place in places.items() for path in place.sources()]
    with ThreadPoolExecutor(_FILES_AT_ONCE) as threads:
        sources = list(
            threads.map(
                lambda each: _source(each[0], each[1], places[each[0]], columns, rows_per_part),
                found,
            )
        )
    names = [source.name for source in sources]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BulkError(f"{min(twice)} is named twice.")
    if not any(source.rows for source in sources):
        raise BulkError(f"{inputs[0]} holds no rows.")
    return sources


def _source(at: str, path: str, place: Place, columns: Columns, rows_per_part: int) -> Source:
    name = place.name_of(path)
    if path.endswith(TABLES):
        rows, fingerprint = measured(place, path, columns=columns)
        firsts = range(1, rows + 1, rows_per_part)
        parts = tuple((each, min(rows_per_part, rows - each + 1), 0, 0) for each in firsts)
        return Source(at, path, name, fingerprint, rows, parts)
    with place.opened(path) as file:
        scanned = scan_lines(file, rows_per_part=rows_per_part, name=name)
    if scanned.rows:
        columns.read(scanned.columns, name=name)
    return Source(at, path, name, scanned.fingerprint, scanned.rows, scanned.parts)
