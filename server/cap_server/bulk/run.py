"""Rows through a running server: batch by batch, each row's answer kept as it comes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cap_client import BatchItem, Client, Fault, InvalidRequestError, SharedOptions
from cap_server.bulk.answers import Answers
from cap_server.bulk.rows import Row, batches

_OF_ONE_PROBLEM = re.compile(r"problems\.(\d+)(?:\.|$)")


@dataclass(slots=True)
class Tally:
    """What came of the rows so far. Attributes: skipped: answered by an earlier run."""

    rows: int = 0
    skipped: int = 0
    failed: int = 0
    programs: int = 0
    tokens: int = 0
    decisions: Counter[str] = field(default_factory=Counter)

    def add(self, item: BatchItem) -> None:
        if item.refinement is None:
            self.failed += 1
            return
        self.decisions[item.refinement.decision] += 1
        self.programs += item.refinement.usage.programs
        self.tokens += item.refinement.usage.completion_tokens


@dataclass(frozen=True, slots=True)
class Bulk:
    """A run.

    Attributes:
        shared: how every row is refined.
        tally: kept up to date.
        advance: called for every row that is answered.
    """

    client: Client
    answers: Answers
    shared: SharedOptions
    tally: Tally
    advance: Callable[[], None]

    def refine(self, rows: Sequence[Row]) -> None:
        """Refine the rows that have no answer yet.

        Raises:
            CapError: of the client; the answers so far are kept.
        """
        self.tally.rows = len(rows)
        for batch in batches(self._left(rows)):
            self._refine(batch)

    def _left(self, rows: Sequence[Row]) -> list[Row]:
        done = self.answers.done.copy()
        left = []
        for row in rows:
            if done[row.key]:  # as often as it was answered: a file may hold a row twice
                done[row.key] -= 1
                self.tally.skipped += 1
                self.advance()
            else:
                left.append(row)
        return left

    def _refine(self, batch: list[Row]) -> None:
        """Refine a batch; what the server does not take whole is cut up until it does."""
        left = [batch]
        while left:
            if not (batch := left.pop()):
                continue
            try:
                with self.client.batch([row.problem for row in batch], **self.shared) as items:
                    for item in items:
                        self._keep(batch[item.index], item)
            except InvalidRequestError as error:
                left += self._without_refused(error, batch)

    def _without_refused(self, error: InvalidRequestError, batch: list[Row]) -> list[list[Row]]:
        """The batches to try instead of `batch`, which was refused before anything was spent.

        Raises:
            InvalidRequestError: `error`, where it is not about some row, nor about the size.
        """
        at = _to_blame(error, batch)
        if at is not None:
            self._keep(batch[at], _refused(error, batch[at]))
            return [batch[:at] + batch[at + 1 :]]
        if error.status != 413:
            raise error
        half = len(batch) // 2
        return [batch[half:], batch[:half]]

    def _keep(self, row: Row, item: BatchItem) -> None:
        self.answers.add(row, item)
        self.tally.add(item)
        self.advance()


def _to_blame(error: InvalidRequestError, batch: Sequence[Row]) -> int | None:
    """The place of the row that the batch was refused for; None where it is no row's fault."""
    if error.status == 413 and len(batch) == 1:
        return 0
    found = _OF_ONE_PROBLEM.match(error.param or "")
    at = int(found[1]) if found else -1
    return at if 0 <= at < len(batch) else None


def _refused(error: InvalidRequestError, row: Row) -> BatchItem:
    fault = Fault(message=error.message, type=error.type, param=error.param, code=error.code)
    return BatchItem(
        index=0,
        custom_id=row.problem.get("custom_id"),
        status=error.status or 422,
        refinement=None,
        error=fault,
    )
