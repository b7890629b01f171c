"""Splits that do not leak: by source question, so that twins stay with their original."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Set

from cap_training.data.rows import Row

_TEST_PERCENT = 4
_DEV_PERCENT = 3


def split_of(source: str) -> str:
    """`train`, `dev` or `test`, the same for ever for a source question."""
    place = int.from_bytes(hashlib.sha256(f"split:{source}".encode()).digest()[:4]) % 100
    if place < _TEST_PERCENT:
        return "test"
    return "dev" if place < _TEST_PERCENT + _DEV_PERCENT else "train"


def without(rows: Iterable[Row], held_out: Set[str]) -> Iterator[Row]:
    """The rows of which neither the question nor the one it was made from is `held_out`.

    Both are told by their ids, as `question_id` makes them.
    """
    return (row for row in rows if row.id not in held_out and row.source not in held_out)
