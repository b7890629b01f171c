"""Rows through a running server: batch by batch, each row's answer kept as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cap_client import BatchItem, Client, Fault, InvalidRequestError, SharedOptions
from cap_server.bulk.rows import Row, batches


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

    def take(self, part: Tally) -> None:
        """Add what came of a part of the rows, which are counted already."""
        self.skipped += part.skipped
        self.failed += part.failed
        self.programs += part.programs
        self.tokens += part.tokens
        self.decisions += part.decisions


class Kept(Protocol):
    """Where answers go. Attributes: done: how often each row's key was answered before."""

    done: Counter[str]

    def add(self, row: Row, item: BatchItem) -> None: ...


@dataclass(frozen=True, slots=True)
class Bulk:
    """A run.

    Attributes:
        shared: how every row is refined.
        tally: kept up to date.
        advance: called for every row that is answered.
        named: the idempotency key of a batch, where a later run is to go on in its midst.
    """

    client: Client
    answers: Kept
    shared: SharedOptions
    tally: Tally
    advance: Callable[[], None]
    named: Callable[[Sequence[Row]], str] | None = None

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
        """Refine a batch; what is too large for the server is cut up."""
        left = [batch]
        while left:
            batch = left.pop()
            try:
                problems, key = [row.problem for row in batch], self._key(batch)
                with self.client.batch(problems, idempotency_key=key, **self.shared) as items:
                    for item in items:
                        self._keep(batch[item.index], item)
            except InvalidRequestError as error:
                left += self._cut_up(error, batch)

    def _key(self, batch: list[Row]) -> str | None:
        return self.named(batch) if self.named else None

    def _cut_up(self, error: InvalidRequestError, batch: list[Row]) -> list[list[Row]]:
        """The batches to try instead of `batch`, which was refused before anything was spent.

        Raises:
            InvalidRequestError: `error`, where it is about something else than size.
        """
        if error.status != 413:
            raise error
        if len(batch) == 1:
            self._keep(batch[0], _refused(error, batch[0]))
            return []
        half = len(batch) // 2
        return [batch[half:], batch[:half]]

    def _keep(self, row: Row, item: BatchItem) -> None:
        self.answers.add(row, item)
        self.tally.add(item)
        self.advance()


def _refused(error: InvalidRequestError, row: Row) -> BatchItem:
    fault = Fault(message=error.message, type=error.type, param=error.param, code=error.code)
    return BatchItem(
        index=0,
        custom_id=row.problem.get("custom_id"),
        status=error.status or 422,
        refinement=None,
        error=fault,
    )
