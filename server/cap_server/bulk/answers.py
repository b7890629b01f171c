"""Where answers go as they come: stdout, or a file that a later run goes on from."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO, Self

from cap_client import BatchItem
from cap_server.bulk.rows import BulkError, Row


class Answers:
    """One line for each row, whole as soon as it is written.

    Attributes:
        done: how often each row's key was answered before; what failed is not counted.

    Args:
        file: takes the lines.
    """

    def __init__(self, file: BinaryIO, done: Counter[str] | None = None) -> None:
        self._file = file
        self.done = done or Counter()

    @classmethod
    def in_file(cls, path: Path) -> Self:
        """Go on with the file at `path`, or begin it.

        A last line that was cut off is taken out, and so are rows that failed: they are tried
        again.

        Raises:
            BulkError: it cannot be read or written, or holds something else.
        """
        try:
            written = path.read_bytes() if path.exists() else b""
            kept, done = _kept(written, path)
            if kept != written:
                _replace(path, kept)
            return cls(path.open("ab", buffering=0), done)
        except OSError as error:
            raise BulkError(f"{path}: {error.strerror}.") from error

    def add(self, row: Row, item: BatchItem) -> None:
        told = item.model_dump(mode="json", exclude_unset=True, exclude={"object", "index"})
        line = {"line": row.line, "key": row.key, **told}
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _kept(written: bytes, path: Path) -> tuple[bytes, Counter[str]]:
    """The lines that stay, and the keys of their rows."""
    lines = written.split(b"\n")[:-1]
    done = Counter[str]()
    kept = []
    for line in lines:
        answer = _answer(line, path)
        if answer["refinement"] is not None:
            done[answer["key"]] += 1
            kept.append(line + b"\n")
    return b"".join(kept), done


def _answer(line: bytes, path: Path) -> dict[str, Any]:
    try:
        answer = json.loads(line)
        if isinstance(answer["key"], str) and "refinement" in answer:
            return dict(answer)
    except (ValueError, KeyError, TypeError):
        pass
    raise BulkError(f"{path} holds something else than answers of this command; name another file.")


def _replace(path: Path, content: bytes) -> None:
    """All of it or nothing: a kill in between leaves what was there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)
