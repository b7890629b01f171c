"""Parquet: read row by row, and written whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from typing import Any, cast

import pyarrow as pa
from pyarrow import parquet

from cap_server.bulk.columns import Columns
from cap_server.bulk.part import OutRow
from cap_server.bulk.places import Place
from cap_server.bulk.rows import BulkError

_FOOTER = 64 * 1024
"""Bytes at a table's end that hold its columns' sizes, places and extremes."""

_ROWS_AT_ONCE = 512
_BUFFERED = 1024**2

COLUMNS = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        ("custom_id", pa.string()),
        pa.field("status", pa.int32(), nullable=False),
        ("decision", pa.string()),
        ("answer", pa.string()),
        ("original_answer", pa.string()),
        ("confidence", pa.float64()),
        ("program", pa.string()),
        ("programs", pa.int32()),
        ("completion_tokens", pa.int64()),
        ("error", pa.string()),
        ("refinement", pa.string()),
    ]
)


def table_of(rows: Sequence[OutRow]) -> bytes:
    """The rows of a part as a file."""
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=COLUMNS), sink, compression="zstd")
    return cast("bytes", sink.getvalue().to_pybytes())


def rows_in(content: bytes, *, name: str) -> list[OutRow]:
    """What `table_of` wrote. Raises BulkError: it is something else."""
    try:
        table = parquet.read_table(pa.BufferReader(content))
        return cast("list[OutRow]", table.cast(COLUMNS).to_pylist())
    except (pa.ArrowException, ValueError) as error:
        raise BulkError(f"{name} is no part of a job: take it away, or name another.") from error


def measured(place: Place, path: str, *, columns: Columns) -> tuple[int, str]:
    """How many rows a table has, and its fingerprint.

    Raises:
        BulkError: it cannot be read, or its columns are not those that are wanted.
    """
    name = place.name_of(path)
    with _opened(place, path) as (file, table):
        schema = table.schema_arrow
        for column, field in columns.read(schema.names, name=name).items():
            _check_type(schema.field(column).type, field, column=column, name=name)
        size = file.size()
        file.seek(max(0, size - _FOOTER))
        fingerprint = blake2b(file.read(), digest_size=16).hexdigest()
        return int(table.metadata.num_rows), f"{size}:{fingerprint}"


class TableReader:
    """Reads stretches of rows; those that follow each other in one pass."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._open = ExitStack()
        self._at: tuple[str, str] | None = None
        self._next = 0
        self._coming: Iterator[dict[str, object]] = iter(())

    def rows(self, place: Place, path: str, *, first: int, rows: int) -> list[dict[str, object]]:
        """Args: first: the first row's number, from 1. Raises BulkError."""
        at = (place.name, path)
        if self._at != at or self._next > first:
            self._begin(place, path, first=first)
            self._at = at
        read = list[dict[str, object]]()
        try:
            for row in self._coming:
                self._next += 1
                if self._next > first:
                    read.append(row)
                if len(read) == rows:
                    return read
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(place, path, error) from error
        raise BulkError(f"{place.name_of(path)} has become shorter.")

    def close(self) -> None:
        self._open.close()

    def _begin(self, place: Place, path: str, *, first: int) -> None:
        """Stand before the row group that holds the row `first`."""
        self.close()
        _, table = self._open.enter_context(_opened(place, path))
        wanted = self._columns.read(table.schema_arrow.names, name=place.name_of(path))
        group, before = 0, 0
        while before + table.metadata.row_group(group).num_rows < first:
            before += table.metadata.row_group(group).num_rows
            group += 1
        batches = table.iter_batches(
            _ROWS_AT_ONCE,
            row_groups=list(range(group, table.metadata.num_row_groups)),
            columns=list(wanted),
            use_threads=False,
        )
        self._next = before + 1
        self._coming = (row for batch in batches for row in batch.to_pylist())


@contextmanager
def _opened(place: Place, path: str) -> Iterator[tuple[Any, Any]]:
    """The file and its table. Raises BulkError."""
    with place.file(path) as file:
        try:
            # Buffered: a row group may be larger than memory.
            yield file, parquet.ParquetFile(file, buffer_size=_BUFFERED)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(place, path, error) from error


def _unreadable(place: Place, path: str, error: Exception) -> BulkError:
    reason = str(error).partition("\n")[0]
    return BulkError(f"{place.name_of(path)} cannot be read as Parquet: {reason}")


def _check_type(type_: Any, field: str, *, column: str, name: str) -> None:  # noqa: ANN401  pyarrow's
    """Raises BulkError where no value of the column can be the field's."""
    types = pa.types
    is_list = types.is_list(type_) or types.is_large_list(type_)
    value = (
        type_.value_type
        if types.is_dictionary(type_) or (is_list and field == "choices")
        else type_
    )
    if types.is_string(value) or types.is_large_string(value) or types.is_string_view(value):
        right = is_list if field == "choices" else True
    else:
        number = types.is_integer(value) or types.is_floating(value)
        right = number and (field in ("answer", "custom_id") or (field == "choices" and is_list))
    if not (right or types.is_null(type_)):
        raise BulkError(f"{name}: {field} cannot be read from the column `{column}`, of {type_}.")
