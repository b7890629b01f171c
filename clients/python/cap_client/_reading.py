"""How the bodies of answers are read, whole or as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from cap_client._errors import NotCapServerError, UnreachableError, error_in_stream
from cap_client._flow import Emit, Flow, Read
from cap_client._lines import Events, Lines, ServerSentEvent
from cap_client._results import (
    BatchItem,
    BatchSummary,
    CandidateEvent,
    ChatChunk,
    Event,
    ExecutionEvent,
    Failure,
    Refinement,
    StepEvent,
)

R = TypeVar("R")

_BatchLine = Annotated[BatchItem | BatchSummary, Field(discriminator="object")]
_BATCH_LINE: TypeAdapter[BatchItem | BatchSummary] = TypeAdapter(_BatchLine)

_CHUNK: TypeAdapter[ChatChunk | Failure] = TypeAdapter(ChatChunk | Failure)

_EVENTS: dict[str, Callable[[bytes], Event]] = {
    "candidate": CandidateEvent.model_validate_json,
    "execution": ExecutionEvent.model_validate_json,
    "step": StepEvent.model_validate_json,
    "decision": Refinement.model_validate_json,
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is. Attributes: problems: all of them; failed: of those that are done."""

    problems: int
    done: int
    failed: int


@dataclass(slots=True)
class Reading:
    """What of a batch has been read so far, over all answers."""

    idempotency_key: str
    problems: int
    on_progress: Callable[[Progress], object] | None = None
    summary: BatchSummary | None = None
    failed: int = 0
    seen: set[int] = field(default_factory=set)

    def is_new(self, item: BatchItem) -> bool:
        """Note it down; one that an earlier answer brought is not new."""
        if item.index in self.seen:
            return False
        self.seen.add(item.index)
        self.failed += item.refinement is None
        return True

    def tell(self) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(self.problems, done=len(self.seen), failed=self.failed))


def parsed(read: Callable[[bytes], R], body: bytes) -> R:
    """What `read` makes of `body`.

    Raises:
        NotCapServerError: it cannot be read.
    """
    try:
        return read(body)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"])) or "its body"
        raise NotCapServerError(
            f"it answered with status 200, not as a CaP server does ({where})"
        ) from error


def events() -> Flow[Event]:
    """The events of the open answer; the last is the refinement.

    An event that this client does not know yet is passed over.
    """
    coming, decided = Events(), False
    while data := (yield Read()):
        for event in coming.feed(data):
            if event.data == b"[DONE]":
                return
            if event.name == "error":
                raise _failure(event)
            if (read := _EVENTS.get(event.name)) is not None:
                decided = decided or event.name == "decision"
                yield Emit(parsed(read, event.data))
    if not decided:
        raise UnreachableError("the stream ended before the decision", sent=True)


def chunks() -> Flow[ChatChunk]:
    """The chunks of the open answer, which is a chat completion."""
    coming = Events()
    while data := (yield Read()):
        for event in coming.feed(data):
            if event.data == b"[DONE]":
                return
            chunk = parsed(_CHUNK.validate_json, event.data)
            if isinstance(chunk, Failure):
                raise error_in_stream(event.data)
            yield Emit(chunk)
    raise UnreachableError("the stream ended before the answer did", sent=True)


def items(reading: Reading, *, moved_on: Callable[[], None]) -> Flow[BatchItem]:
    """The open answer's items that are new.

    Args:
        reading: what earlier answers brought; the summary is put there.
        moved_on: called for every new item.
    """
    lines = Lines()
    while data := (yield Read()):
        for line in filter(None, lines.feed(data)):  # empty ones are heartbeats
            item = parsed(_BATCH_LINE.validate_json, line)
            if isinstance(item, BatchSummary):
                reading.summary = item
                return
            if not 0 <= item.index < reading.problems:
                raise NotCapServerError("it answers a problem that was not asked")
            if reading.is_new(item):
                moved_on()
                reading.tell()
                yield Emit(item)
    raise UnreachableError("the batch broke off", sent=True)


def _failure(event: ServerSentEvent) -> Exception:
    try:
        return error_in_stream(event.data)
    except ValidationError:
        return NotCapServerError("it sends an error that is none of a CaP server")
