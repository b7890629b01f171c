"""Answers of a server, as its API shapes them."""

from __future__ import annotations

from typing import Any

EXECUTION: dict[str, Any] = {
    "status": "ok",
    "value": {"type": "int", "text": "18"},
    "stdout": "",
    "stderr": "",
    "wall_s": 0.002,
    "cpu_s": 0.001,
    "peak_memory_bytes": 9_000_000,
}

CANDIDATE: dict[str, Any] = {
    "kind": "program",
    "index": 0,
    "text": "answer=18",
    "answer": None,
    "execution": None,
    "prompt_tokens": 7,
    "completion_tokens": 5,
    "log_likelihood": None,
    "score": None,
}

STEP: dict[str, Any] = {
    "event": "vote",
    "programs": 1,
    "weights": [{"answer": "18", "weight": 1}, {"answer": None, "weight": 0.5}],
    "detail": "",
}

REFINEMENT: dict[str, Any] = {
    "id": "ref_1",
    "object": "refinement",
    "created": 1_790_000_000,
    "model": "cap-small",
    "decision": "corrected",
    "answer": "18",
    "original_answer": "26",
    "confidence": 0.9,
    "program": "answer=18",
    "execution": EXECUTION,
    "strategy": {"name": "majority", "programs": 8},
    "candidates": None,
    "trace": None,
    "warnings": [],
    "usage": {"programs": 8, "wall_s": 0.5},
    "stopped_by": None,
}

FAULT = {"message": "down", "type": "upstream_error", "param": None, "code": "model_unavailable"}


def item(index: int, *, failed: bool = False) -> dict[str, Any]:
    """A line of a batch."""
    return {
        "object": "refinement.batch.item",
        "index": index,
        "custom_id": f"p{index}",
        "status": 503 if failed else 200,
        "refinement": None if failed else REFINEMENT,
        "error": FAULT if failed else None,
    }


def summary(problems: int, *, failed: int = 0) -> dict[str, Any]:
    """A batch's last line."""
    usage = {"programs": 8 * problems}
    whole = {"object": "refinement.batch", "id": "batch_1", "problems": problems}
    return {**whole, "failed": failed, "usage": usage}
