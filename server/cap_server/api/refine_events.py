"""The events of a refinement that is streamed, as they are sent."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from cap_server import domain
from cap_server.api.refinement import CandidateOut, StepOut
from cap_server.api.wire import ExecutionOut
from cap_server.events import Drawn, Event, Executed


class CandidateEvent(BaseModel):
    """A model came to the end of a text; a program has not run yet."""

    object: Literal["refinement.candidate"] = "refinement.candidate"
    id: str
    candidate: CandidateOut


class ExecutionEvent(BaseModel):
    """The program with this index ran."""

    object: Literal["refinement.execution"] = "refinement.execution"
    id: str
    kind: domain.Task
    index: int
    answer: str | None
    execution: ExecutionOut


class StepEvent(BaseModel):
    """A step of the strategy towards its choice."""

    object: Literal["refinement.step"] = "refinement.step"
    id: str
    step: StepOut


EventOut = CandidateEvent | ExecutionEvent | StepEvent


def event_out(event: Event, *, id_: str) -> tuple[str, EventOut]:
    """The event's name, and what it says."""
    if isinstance(event, Drawn):
        return "candidate", CandidateEvent(id=id_, candidate=CandidateOut.of(event.candidate))
    if isinstance(event, Executed):
        candidate = event.candidate
        assert candidate.execution is not None, "it ran"
        return "execution", ExecutionEvent(
            id=id_,
            kind=candidate.kind,
            index=candidate.index,
            answer=candidate.answer.text if candidate.answer else None,
            execution=ExecutionOut.of(candidate.execution),
        )
    return "step", StepEvent(id=id_, step=StepOut.of(event))
