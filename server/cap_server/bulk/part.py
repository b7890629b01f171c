"""One part of a job through the server: a row of the output for each of its rows."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cap_client import BatchItem, Client, Fault, SharedOptions
from cap_server.bulk.entries import Entry
from cap_server.bulk.rows import Row
from cap_server.bulk.run import Bulk, Tally

OutRow = Mapping[str, object]
"""As the output has it; `table.COLUMNS` says what there is."""

_AGAIN_AFTER_S = (5.0, 30.0)
"""Rows that failed for the time being are asked for again: what is well comes from the server's
store, and is not paid twice."""


@dataclass(slots=True)
class _Items:
    """What came of the rows, by their numbers; the newest counts."""

    done: Counter[str] = field(default_factory=Counter)
    of: dict[int, BatchItem] = field(default_factory=dict)

    def add(self, row: Row, item: BatchItem) -> None:
        self.of[row.line] = item


def refine_part(
    entries: Sequence[Entry],
    client: Client,
    shared: SharedOptions,
    *,
    named: Callable[[Sequence[Row]], str],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[int, BatchItem]:
    """What came of each entry, by its number.

    Args:
        entries: those that have no answer yet.
        client: of a server; it waits as the server asks it to.
        shared: how they are refined.
        named: the idempotency key of a batch of rows.
        sleep: waits so many seconds.

    Raises:
        CapError: the server refused all of them, or is gone for long.
    """
    items = _Items()
    rows = [entry.row for entry in entries if entry.row is not None]
    bulk = Bulk(client, items, shared, Tally(), advance=lambda: None, named=named)
    bulk.refine(rows)
    for after_s in _AGAIN_AFTER_S:
        if not any(_may_pass(item) for item in items.of.values()):
            break
        sleep(after_s)
        bulk.refine(rows)
    return {entry.number: items.of.get(entry.number) or _malformed(entry) for entry in entries}


def out_row(file: str, number: int, item: BatchItem) -> OutRow:
    """A row of the output."""
    told, error = item.refinement, item.error
    return {
        "file": file,
        "row": number,
        "custom_id": item.custom_id,
        "status": item.status,
        "decision": told and told.decision,
        "answer": told and told.answer,
        "original_answer": told and told.original_answer,
        "confidence": told and told.confidence,
        "program": told and told.program,
        "programs": told and told.usage.programs,
        "completion_tokens": told and told.usage.completion_tokens,
        "error": f"{error.code}: {error.message}" if error else None,
        "refinement": told and told.model_dump_json(exclude_unset=True),
    }


def dead_letter(file: str, entry: Entry, item: BatchItem) -> bytes:
    """A line: the row as it was written, and why it failed."""
    line = {
        "file": file,
        "row": entry.number,
        "status": item.status,
        "error": item.error and item.error.model_dump(mode="json"),
        "written": entry.written,
    }
    return json.dumps(line, ensure_ascii=False, default=str).encode() + b"\n"


def tally_of(rows: Sequence[OutRow]) -> Tally:
    """What came of `rows`."""
    tally = Tally(rows=len(rows))
    for row in rows:
        if row["decision"] is None:
            tally.failed += 1
            continue
        tally.decisions[str(row["decision"])] += 1
        tally.programs += _int(row["programs"])
        tally.tokens += _int(row["completion_tokens"])
    return tally


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _may_pass(item: BatchItem) -> bool:
    """Whether another try may go better: as the server has it of what it stores."""
    return item.refinement is None and (item.status >= 500 or item.status in (401, 429))


def _malformed(entry: Entry) -> BatchItem:
    fault = Fault(
        message=entry.fault, type="invalid_request_error", param=None, code="malformed_row"
    )
    return BatchItem(index=0, custom_id=None, status=422, refinement=None, error=fault)
