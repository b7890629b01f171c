"""A job of `cap bulk`: what it refines and how, cut into parts.

A part is what is kept together: its rows become one file of the output, whole or not at all, so
that the files that are there say where a job that was killed goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Self

from cap_server.bulk.rows import BulkError, Row

MARK = "job.json"
ROWS, DEAD = "rows", "dead-letters"
"""The output's folders: a row for each row of the input; those that failed, and why."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the input.

    Attributes:
        at: the input that it belongs to, as the command names it.
        path: in that input's file system.
        name: for people and the output.
        fingerprint: tells it from another file of this name.
        rows: how many there are.
        parts: of each part in turn the first row, the number of rows, and for JSON lines where it
            begins and how many bytes it has.
    """

    at: str
    path: str
    name: str
    fingerprint: str
    rows: int
    parts: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Attributes: number: in the job, from 0; first: its first row's number, from 1."""

    number: int
    at: str
    path: str
    name: str
    first: int
    rows: int
    start: int
    size: int

    @property
    def file(self) -> str:
        return f"{ROWS}/part-{self.number:06}.parquet"

    @property
    def dead(self) -> str:
        return f"{DEAD}/part-{self.number:06}.jsonl"


@dataclass(frozen=True, slots=True)
class Job:
    """What an output is the output of.

    Attributes:
        id: no other job's; it is part of the idempotency keys of its batches.
        how: the options that its rows depend on.
        files: the input's fingerprints by their names.
    """

    id: str
    how: Mapping[str, Any]
    files: Mapping[str, str]

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, content: bytes, *, name: str) -> Self:
        """Raises BulkError: it is no job's mark."""
        try:
            read = json.loads(content)
            return cls(str(read["id"]), dict(read["how"]), dict(read["files"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BulkError(f"{name} is damaged; name another output.") from error

    def going_on(self, before: Job, *, output: str) -> Job:
        """This job with the id of the one that `output` was begun by.

        Raises:
            BulkError: that was another one; in what it differs.
        """
        if difference := self._difference(before):
            raise BulkError(f"{output} holds another job's rows: {difference}. Name another.")
        return replace(self, id=before.id)

    def batch_key(self, part: Part, rows: Sequence[Row]) -> str:
        """The idempotency key of a batch: the server goes on with it, and nothing is paid twice."""
        content = json.dumps([row.key for row in rows]).encode()
        digest = blake2b(content, digest_size=16).hexdigest()
        return f"bulk-{self.id}-{part.number}-{digest}"

    def _difference(self, before: Job) -> str:
        for name in sorted({*self.files, *before.files}):
            if name not in self.files:
                return f"their input has {name} too"
            if name not in before.files:
                return f"their input has no {name}"
            if self.files[name] != before.files[name]:
                return f"{name} has changed since"
        for name in sorted({*self.how, *before.how}):
            now, then = self.how.get(name), before.how.get(name)
            if now != then:
                return f"{name} was {json.dumps(then)}, not {json.dumps(now)}"
        return ""


def parts_of(sources: Sequence[Source]) -> Iterator[Part]:
    """The parts of a job's files, numbered over all of them."""
    number = 0
    for source in sources:
        for first, rows, start, size in source.parts:
            yield Part(number, source.at, source.path, source.name, first, rows, start, size)
            number += 1
