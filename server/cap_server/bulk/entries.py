"""Rows as a job reads them: what is none is an entry too, with the reason."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import BinaryIO

from cap_client import SharedOptions
from cap_server.bulk.columns import Columns
from cap_server.bulk.job import Part
from cap_server.bulk.rows import BulkError, Row, RowError, row_of

_LONGEST_LINE = 64 * 1024**2
_SHOWN_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the input.

    Attributes:
        number: in its file, from 1.
        written: as the file has it.
        row: None where it is none; `fault` says why.
    """

    number: int
    written: object
    row: Row | None
    fault: str = ""


def entry_of(
    written: bytes | Mapping[str, object], number: int, *, columns: Columns, shared: SharedOptions
) -> Entry:
    """Args: written: a line of JSON, or a table's row."""
    read = _read(written) if isinstance(written, bytes) else written
    try:
        if isinstance(read, Mapping):
            return Entry(number, read, row_of(columns.fields(read), number, shared=shared))
        line = written if isinstance(written, bytes) else b""
        return Entry(number, read, row_of(line, number, shared=shared))
    except RowError as error:
        return Entry(number, read, None, fault=str(error))


def entries_of_lines(
    content: bytes, part: Part, *, columns: Columns, shared: SharedOptions
) -> list[Entry]:
    """The rows of a part of JSON lines. Args: content: the part's bytes."""
    return [
        entry_of(line, number, columns=columns, shared=shared)
        for number, line in enumerate(content.split(b"\n"), part.first)
        if line.strip()
    ]


@dataclass(frozen=True, slots=True)
class Scanned:
    """A file of JSON lines, read through once. See `Source` for `parts`.

    Attributes:
        columns: the names of the first rows' fields.
    """

    rows: int
    parts: tuple[tuple[int, int, int, int], ...]
    fingerprint: str
    columns: frozenset[str]


def scan_lines(file: BinaryIO, *, rows_per_part: int, name: str) -> Scanned:
    """Count the rows of a file and cut it into parts.

    Raises:
        BulkError: a line has no end.
    """
    digest, columns = blake2b(digest_size=16), set[str]()
    parts, rows = list[tuple[int, int, int, int]](), 0
    first, of_part, start, offset = 1, 0, 0, 0
    for number, line in enumerate(_lines(file, name), 1):
        digest.update(line)
        offset += len(line)
        if not line.strip():
            continue
        if rows < _SHOWN_ROWS and isinstance(row := _read(line), dict):
            columns |= row.keys()
        rows, of_part = rows + 1, of_part + 1
        if of_part == rows_per_part:
            parts.append((first, of_part, start, offset - start))
            first, of_part, start = number + 1, 0, offset
    if of_part:
        parts.append((first, of_part, start, offset - start))
    return Scanned(rows, tuple(parts), digest.hexdigest(), frozenset(columns))


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    while line := file.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise BulkError(f"{name} has a line of more than {_LONGEST_LINE // 1024**2} MiB.")
        yield line


def _read(line: bytes) -> object:
    """What the line says; its text where it says nothing."""
    try:
        return json.load(io.BytesIO(line))
    except (ValueError, RecursionError):
        return line.decode(errors="replace").rstrip("\n")
