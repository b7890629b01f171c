"""The values of batches."""

from __future__ import annotations

from dataclasses import dataclass

from cap_server.domain import Usage


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one problem.

    Attributes:
        index: its place in the batch, from 0.
        status: as of an answer to a request for it alone.
        line: as it is sent, with its line break.
    """

    index: int
    status: int
    line: bytes
    usage: Usage

    @property
    def final(self) -> bool:
        """Whether another try would come to the same, or be paid again."""
        return self.status < 500 and self.status not in (401, 429)


@dataclass(frozen=True, slots=True)
class Name:
    """What a client calls a batch, to come back to it.

    Attributes:
        tenant: whose it is; others may use the same key for batches of their own.
        key: the Idempotency-Key.
        body_hash: of what was asked for.
    """

    tenant: str
    key: str
    body_hash: str
