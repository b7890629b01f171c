"""What goes into the sandbox and what comes out: limits, executions, typed values, and the wire.

On the wire, each direction carries exactly one frame: four bytes of length (network order), then
that many bytes of JSON. What comes from a child is hostile until it is decoded: lengths, nesting,
types and texts are checked here, and anything odd is a `FrameError`.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal, cast, get_args

Status = Literal["ok", "error", "timeout", "memory", "killed", "rejected"]
"""How a program ended.

`ok`: it ran to its end. `error`: it raised. `timeout`: it was stopped at `Limits.wall_s`.
`memory`: it needed more than `Limits.memory_bytes`. `killed`: the kernel or the sandbox stopped it
for something that programs may not do. `rejected`: the policy refused it, before anything ran or at
the line that `stderr` names.
"""

ValueType = Literal[
    "int", "float", "fraction", "decimal", "complex", "expression",
    "bool", "text", "list", "dict", "date", "none",
]  # fmt: skip

TIERS = ("weak", "basic", "standard", "strong")
"""How well programs can be shut in, from worst to best."""

MAX_PROGRAM_BYTES = 128 * 1024
MAX_VALUE_DEPTH = 16
MAX_VALUE_NODES = 2_000
MAX_TEXT = 128 * 1024
"""Characters in all the texts of one value together, containers and members."""

READY = b"+"
"""A child's first byte, once it is shut in."""

HANDED_OVER_BODY = b"handed over"
"""What a light process sends, instead of a report, when its program needs a heavy one."""

_REPORT_FIELDS = {"status", "value", "stdout", "stderr", "cpu_s", "peak_memory_bytes"}
_HEADER = struct.Struct("!I")
# JSON writes an unprintable byte of output as six (`\u0007`), and two streams are carried.
_REPORT_BYTES_PER_OUTPUT_BYTE = 12
# A value's texts and a traceback, escaped: an honest child's own caps keep it below this.
_REPORT_BYTES = 2 * 1024 * 1024
# The mark of a cut is a line that the child adds after `output_bytes`.
_MARK_SLACK = 128
_MAX_STDERR = 16 * 1024
# What is left of a frame without its texts: honest values of 2,000 members have some 50 KiB of it.
# Objects and arrays take fifty times the memory of their brackets, and long to build.
_MAX_STRUCTURE = 128 * 1024
HANDED_OVER = _HEADER.pack(len(HANDED_OVER_BODY)) + HANDED_OVER_BODY
"""The whole frame."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use.

    Attributes:
        wall_s: seconds from the moment a ready process has the program, 0.05 to 60.
        memory_bytes: address space that the program may add, 64 MiB to 4 GiB.
        output_bytes: how much of stdout, and of stderr, is kept, 0 to 1 MiB.
    """

    wall_s: float = 3.0
    memory_bytes: int = 512 * 1024**2
    output_bytes: int = 16 * 1024


@dataclass(frozen=True, slots=True)
class Value:
    """A program's answer: its type and its exact text.

    Attributes:
        type: what the program left; `expression` is any other sympy object.
        text: the value as Python or sympy writes it, exact (`"1/3"`, `"sqrt(2)"`).
        latex: sympy's LaTeX for an `expression`, else None.
        items: the members of a `list` (tuples, sets, arrays too), else None.
        entries: the pairs of a `dict`, else None.
    """

    type: ValueType
    text: str
    latex: str | None = None
    items: tuple[Value, ...] | None = None
    entries: tuple[tuple[Value, Value], ...] | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of one program. Whatever it did wrong is told here, never raised.

    Attributes:
        value: the program's answer; None when it left none, or did not end `ok`.
        stdout: what it printed, cut at `Limits.output_bytes` with a mark where it was cut; empty
            for a program that had to be stopped.
        stderr: why it did not end `ok`: a traceback of its own lines, or the policy's reasons.
        wall_s: seconds on the parent's clock.
        cpu_s: seconds of processor time, user and system.
        peak_memory_bytes: the largest resident size, what is shared with other programs included.
            This and `cpu_s` are the process's own words, within `wall_s` and `Limits`, where it
            lived to report; the kernel's where it did not.
    """

    status: Status
    value: Value | None = None
    stdout: str = ""
    stderr: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0


ReportStatus = Literal["ok", "error", "memory", "rejected"]
"""The endings that a child may claim for itself; the others are the parent's to say."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a child says about its program."""

    status: ReportStatus
    value: Value | None
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process says it used.

    Attributes:
        cpu_s: seconds of processor time, user and system.
        peak_memory_bytes: the largest resident size.
    """

    cpu_s: float
    peak_memory_bytes: int


NOTHING_SPENT = Spent(0.0, 0)


class FrameError(Exception):
    """What a child sent is no report."""


def check_limits(limits: Limits) -> None:
    """Return if `limits` lie in their documented ranges.

    Raises:
        ValueError: which one does not.
    """
    if not 0.05 <= limits.wall_s <= 60:
        raise ValueError(f"wall_s must be 0.05 to 60, not {limits.wall_s}")
    if not 64 * 1024**2 <= limits.memory_bytes <= 4 * 1024**3:
        raise ValueError(f"memory_bytes must be 64 MiB to 4 GiB, not {limits.memory_bytes}")
    if not 0 <= limits.output_bytes <= 1024**2:
        raise ValueError(f"output_bytes must be 0 to 1 MiB, not {limits.output_bytes}")


def max_report_bytes(limits: Limits) -> int:
    return _REPORT_BYTES + _REPORT_BYTES_PER_OUTPUT_BYTE * limits.output_bytes


def pack(message: Mapping[str, object]) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return _HEADER.pack(len(body)) + body


class FrameDecoder:
    """Takes bytes as they come until one frame is whole.

    Args:
        max_bytes: the longest body that is believed.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add `data`.

        Raises:
            FrameError: the frame is longer than allowed, or something follows it.
        """
        self._buffer += data
        if len(self._buffer) < _HEADER.size:
            return
        length = self._length()
        if length > self._max_bytes:
            raise FrameError(f"a frame of {length} bytes")
        if len(self._buffer) > _HEADER.size + length:
            raise FrameError("more than one frame")

    @property
    def complete(self) -> bool:
        if len(self._buffer) < _HEADER.size:
            return False
        return len(self._buffer) == _HEADER.size + self._length()

    def body(self) -> bytes:
        """Return the frame's body.

        Raises:
            FrameError: it has not come whole.
        """
        if not self.complete:
            raise FrameError("a frame that ends early")
        return bytes(self._buffer[_HEADER.size :])

    def _length(self) -> int:
        return cast("int", _HEADER.unpack_from(self._buffer)[0])


def encode_value(value: Value) -> dict[str, object]:
    encoded: dict[str, object] = {"type": value.type, "text": value.text}
    if value.latex is not None:
        encoded["latex"] = value.latex
    if value.items is not None:
        encoded["items"] = [encode_value(item) for item in value.items]
    if value.entries is not None:
        encoded["entries"] = [[encode_value(k), encode_value(v)] for k, v in value.entries]
    return encoded


def encode_report(report: Report, spent: Spent) -> dict[str, object]:
    return {
        "status": report.status,
        "value": None if report.value is None else encode_value(report.value),
        "stdout": report.stdout,
        "stderr": report.stderr,
        "cpu_s": spent.cpu_s,
        "peak_memory_bytes": spent.peak_memory_bytes,
    }


def decode_report(body: bytes, limits: Limits) -> tuple[Report, Spent]:
    """Read a child's report, believing nothing.

    Raises:
        FrameError: what is wrong with it.
    """
    message = load(body)
    if not isinstance(message, dict) or message.keys() != _REPORT_FIELDS:
        raise FrameError("not the fields of a report")
    status = message["status"]
    if not isinstance(status, str) or status not in get_args(ReportStatus):
        raise FrameError("an ending that a child cannot claim")
    value = decode_value(message["value"])
    report = Report(
        status=cast("ReportStatus", status),
        value=value if status == "ok" else None,
        stdout=_output(message["stdout"], limits.output_bytes + _MARK_SLACK),
        stderr=_output(message["stderr"], _MAX_STDERR + limits.output_bytes + _MARK_SLACK),
    )
    return report, Spent(
        decode_amount(message["cpu_s"]), int(decode_amount(message["peak_memory_bytes"]))
    )


def load(body: bytes) -> object:
    """Read JSON of a bounded number of parts.

    Raises:
        FrameError: it is none, or has more.
    """
    if len(_STRING.sub(b"", body)) > _MAX_STRUCTURE:
        raise FrameError("too many parts")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError("no JSON") from error


def decode_value(encoded: object) -> Value | None:
    """Read a value, or None, that `json.loads` returned.

    Raises:
        FrameError: what is wrong with it.
    """
    return None if encoded is None else _ValueDecoder().decode(encoded)


def decode_amount(number: object) -> float:
    """Read seconds or bytes.

    Raises:
        FrameError: it is no number of them.
    """
    if type(number) not in (int, float) or not 0 <= cast("float", number) < 2**53:
        raise FrameError("an amount that is none")
    return cast("float", number)


def _output(text: object, max_bytes: int) -> str:
    clean = decode_text(text)
    if len(clean.encode()) > max_bytes:
        raise FrameError("more output than the limits allow")
    return clean


def decode_text(text: object) -> str:
    """Read a text, with a mark in the place of what no encoding takes.

    Raises:
        FrameError: it is none.
    """
    if not isinstance(text, str):
        raise FrameError("a text that is none")
    # A lone surrogate is legal in JSON and breaks every later `encode`.
    return text.encode("utf-8", "replace").decode("utf-8")


_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "int": re.compile(r"-?\d+", re.ASCII),
    # Possessive: what backtracks here takes minutes over a text of 128 Ki digits and one letter.
    "float": re.compile(r"[+-]?(inf|nan|(\d++\.?\d*+|\.\d++)(e[+-]?\d++)?)", re.ASCII),
    "fraction": re.compile(r"-?\d+(/\d+)?", re.ASCII),
    "bool": re.compile(r"True|False"),
    "none": re.compile(r"None"),
}


class _ValueDecoder:
    """Decodes one value and counts what it has believed so far."""

    def __init__(self) -> None:
        self._nodes = 0
        self._characters = 0

    def decode(self, encoded: object, depth: int = 0) -> Value:
        fields = self._fields(encoded, depth)
        kind = fields["type"]
        if not isinstance(kind, str) or kind not in get_args(ValueType):
            raise FrameError("an unknown type of value")
        text = self._counted(fields["text"])
        _check_text(kind, text)
        latex = fields.get("latex")
        return Value(
            type=cast("ValueType", kind),
            text=text,
            latex=self._counted(latex) if kind == "expression" and latex is not None else None,
            items=self._items(fields.get("items"), depth) if kind == "list" else None,
            entries=self._entries(fields.get("entries"), depth) if kind == "dict" else None,
        )

    def _fields(self, encoded: object, depth: int) -> dict[str, object]:
        self._nodes += 1
        if self._nodes > MAX_VALUE_NODES or depth > MAX_VALUE_DEPTH:
            raise FrameError("a value too large or too deep")
        allowed = {"type", "text", "latex", "items", "entries"}
        if not isinstance(encoded, dict) or not {"type", "text"} <= encoded.keys() <= allowed:
            raise FrameError("not the fields of a value")
        return encoded

    def _counted(self, text: object) -> str:
        clean = decode_text(text)
        self._characters += len(clean)
        if self._characters > MAX_TEXT + MAX_VALUE_NODES:
            raise FrameError("a value of too much text")
        return clean

    def _items(self, items: object, depth: int) -> tuple[Value, ...]:
        if not isinstance(items, list):
            raise FrameError("a list without items")
        return tuple(self.decode(item, depth + 1) for item in items)

    def _entries(self, entries: object, depth: int) -> tuple[tuple[Value, Value], ...]:
        if not isinstance(entries, list):
            raise FrameError("a dict without entries")
        return tuple(self._pair(entry, depth) for entry in entries)

    def _pair(self, entry: object, depth: int) -> tuple[Value, Value]:
        if not isinstance(entry, list) or len(entry) != 2:
            raise FrameError("an entry that is no pair")
        return self.decode(entry[0], depth + 1), self.decode(entry[1], depth + 1)


def _check_text(kind: str, text: str) -> None:
    pattern = _PATTERNS.get(kind)
    if pattern is not None:
        if not pattern.fullmatch(text):
            raise FrameError(f"a text that is no {kind}")
        return
    try:
        if kind == "decimal":
            Decimal(text)
        elif kind == "complex":
            complex(text)
        elif kind == "date":
            _parse_date(text)
    except (ValueError, InvalidOperation) as error:
        raise FrameError(f"a text that is no {kind}") from error


def _parse_date(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        datetime.fromisoformat(text)
