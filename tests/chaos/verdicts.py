"""Whether what came back is true: of each refinement, against what its programs truly come to."""

from __future__ import annotations

import math
from collections import Counter

from cap_client import Refinement, StatusError
from tests.chaos.questions import Question, truth

OVERRULE = 0.75

_HONEST = {
    429: ("overloaded",),
    502: ("model_response",),
    503: ("model_unavailable", "sandbox_unavailable", "store_unavailable", "server_ends"),
    504: ("deadline",),
    409: ("batch_in_progress",),
}
_IN_STREAMS = {code for codes in _HONEST.values() for code in codes}


def of_refinement(question: Question, asked: str, programs: int, found: Refinement) -> list[str]:
    """What is wrong with a refinement of `question` by the strategy `asked`."""
    if found.original_answer != str(question.stated):
        return [f"it read {found.original_answer} as the answer, which is {question.stated}"]
    wrong, said = list[str](), Counter[str]()
    for each in found.candidates or []:
        if not each.text or each.answer is None:
            continue
        try:
            true = _written(truth(question, each.text), like=each.answer)
        except KeyError:
            wrong.append("a program that was never drawn")
        except ValueError:
            said[each.answer] += 1  # more than sums: the sandbox's word for it
        else:
            said[true] += 1
            if each.answer != true:
                wrong.append(f"a program that comes to {true} is told to come to {each.answer}")
    return wrong + _of_decision(question, found, said, programs if asked == "majority" else None)


def _of_decision(
    question: Question, found: Refinement, said: Counter[str], programs: int | None
) -> list[str]:
    """Args: programs: of a vote, of which more than its bounds must have agreed; None: else."""
    stated = str(question.stated)
    if found.decision == "confirmed":
        enough = said[stated] > (programs / 2 if programs else 0)
        right = found.answer == stated and enough
    elif found.decision == "corrected":
        backing = said[found.answer or ""] if found.answer != stated else 0
        right = backing > (OVERRULE * programs if programs else 0)
    elif found.decision in ("kept", "unresolved"):
        right = found.answer == stated
    else:
        right = False
    return [] if right else [f"{found.decision} {found.answer}, where programs say {dict(said)}"]


def _written(value: float | None, *, like: str) -> str:
    """`value` as text; the server's own where it says the same number."""
    try:
        same = value is not None and math.isclose(float(like), value, rel_tol=1e-9)
        return like if same else str(value)
    except ValueError:
        return str(value)


def undisturbed(question: Question, found: Refinement) -> list[str]:
    """What is wrong with the decision of a vote when nothing was in its way."""
    expected = {"wrong": "corrected", "right": "confirmed", "crash": "unresolved"}
    due = expected.get(question.kind)
    if due is None or found.decision == due:
        return []
    return [f"{found.decision}, where nothing kept it from {due}"]


def of_refusal(error: StatusError) -> list[str]:
    """What is wrong with a refusal."""
    if error.status is None:
        return [] if error.code in _IN_STREAMS else [f"`{error.code}` in a stream"]
    if error.code not in _HONEST.get(error.status, ()):
        return [f"{error.status} `{error.code}`"]
    if error.status in (429, 503) and error.retry_after_s is None:
        return [f"{error.status} `{error.code}` without Retry-After"]
    return []
