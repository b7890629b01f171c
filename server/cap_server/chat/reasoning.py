"""What happens in a refinement, as text that a reader of the reasoning follows."""

from __future__ import annotations

from cap_server.chat.answering import Reply
from cap_server.domain import Candidate, Refinement
from cap_server.events import Drawn, Event, Executed

_LONGEST_OUTCOME = 400


def thought(what: Event | Reply) -> str:
    """The paragraph for what happened; empty where it has nothing for a reader.

    Paragraphs can be put one after the other.
    """
    if isinstance(what, Reply):
        return _conclusion(what.refinement) if what.refinement else ""
    return _paragraph(what)


def _paragraph(event: Event) -> str:
    if isinstance(event, Drawn):
        return _drawn(event.candidate)
    if isinstance(event, Executed):
        return f"Program {event.candidate.index + 1}: {_outcome(event.candidate)}\n\n"
    return f"Decided: {event.detail}.\n\n" if event.event == "decided" and event.detail else ""


def _conclusion(refinement: Refinement) -> str:
    """The last paragraph: what was decided, and how surely."""
    answer, original = refinement.answer, refinement.original_answer
    if answer is None:
        return f"{refinement.decision}: no program came to an answer.\n"
    change = answer.text
    if refinement.decision == "corrected" and original is not None:
        change = f"{original.text} → {answer.text}"
    return f"{refinement.decision}: {change} (confidence {refinement.confidence:.2f})\n"


def _drawn(candidate: Candidate) -> str:
    if candidate.kind == "cot":
        return f"{candidate.text}\n\n"
    if not candidate.text:
        return f"Program {candidate.index + 1}: none was written\n\n"
    return f"Program {candidate.index + 1}:\n```python\n{candidate.text}\n```\n\n"


def _outcome(candidate: Candidate) -> str:
    execution = candidate.execution
    assert execution is not None, "it ran"
    if execution.status != "ok":
        lines = execution.stderr.strip().splitlines()
        why = f": {lines[-1][:_LONGEST_OUTCOME]}" if lines else ""
        return f"{execution.status}{why}"
    if candidate.answer is None:
        return "no answer"
    return f"answer = {candidate.answer.text[:_LONGEST_OUTCOME]}"
