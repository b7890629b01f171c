"""Bytes as they come, cut into lines, and lines into server-sent events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cap_client._errors import NotCapServerError

_LONGEST_LINE_BYTES = 64 * 1024**2


class Lines:
    """Cuts at line feeds; a carriage return before one belongs to the cut."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes.

        Raises:
            NotCapServerError: a line has no end.
        """
        self._rest += data
        if b"\n" in data:
            *lines, self._rest = self._rest.split(b"\n")
            return [bytes(line.removesuffix(b"\r")) for line in lines]
        if len(self._rest) > _LONGEST_LINE_BYTES:
            raise NotCapServerError("it sends a line that does not end")
        return []


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    name: str
    data: bytes


class Events:
    """Reads `text/event-stream` as the HTML standard has it, but for ids and lone returns."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[ServerSentEvent]:
        """The events that `data` completes; comments, which are heartbeats, are none."""
        for line in self._lines.feed(data):
            if line:
                self._field(line)
                continue
            if self._data:
                yield ServerSentEvent(self._name or "message", b"\n".join(self._data))
            self._name, self._data = "", []

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"data":
            self._data.append(value)
