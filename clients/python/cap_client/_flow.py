"""Calls without I/O: generators that say what to do next and are told what came of it.

`Client` and `AsyncClient` carry the steps out, each in its way; what a call consists of, when it is
repeated and how its answer is read is written once, here and in `_calls`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Request:
    """Attributes: silence_s: without a byte for so long, the connection counts as broken."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    silence_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer. `headers` are in small letters."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Open:
    """Send `request`, and come back with the `Head`; an answer that was open is closed."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Come back with more of the open answer's bytes; none at its end."""


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """Hand `value` to the caller."""

    value: T


Step = Open | Read | Wait

Doing = Generator[Step, Any, R]
"""Steps that come to an R. UnreachableError is thrown in where an `Open` or a `Read` fails."""

Flow = Generator[Step | Emit[T], Any, None]
"""Steps that hand over Ts on the way."""


def rest() -> Doing[bytes]:
    """The open answer's whole body."""
    parts: list[bytes] = []
    while part := (yield Read()):
        parts.append(part)
    return b"".join(parts)
