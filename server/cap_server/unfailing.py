"""A stderr that never fails: a log on a full disk, or with no reader left, ends no request."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TextIO


class Unfailing(io.TextIOBase):
    """What cannot be written to `stream` is lost, and nobody but its reader misses it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has it as a field
        return self._stream.encoding

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True
