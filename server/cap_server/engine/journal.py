"""What vLLM's log tells an operator: how far the start is, and why it failed."""

import re
from pathlib import Path

# Enough for a start with two tracebacks; the log of a long run is never read whole.
_READ_BYTES = 256 * 1024
_TAIL_LINES = 12
_CAUSE = re.compile(r"(?:^|\s)((?:\w+\.)*\w*(?:Error|Exception): .*\S)")

# In the order in which vLLM writes them. One that a version lacks is merely never shown.
_STAGES = (
    ("Resolved architecture", "starting vLLM's processes"),
    ("Initializing a V1 LLM engine", "starting the model's process"),
    ("Starting to load model", "loading the model"),
    ("Loading weights took", "preparing the model"),
    ("Starting vLLM server", "opening its port"),
)


def stage(log: Path) -> str:
    """What vLLM is doing, in words for a progress line."""
    written = _read(log)
    reached = [words for marker, words in _STAGES if marker in written]
    return reached[-1] if reached else "importing vLLM"


def excerpt(log: Path) -> str:
    """Names the log, its first error and its last lines.

    vLLM's last lines are often "see root cause above", so the first error is shown too.
    """
    written = _read(log)
    lines = [line.rstrip()[:300] for line in written.splitlines() if line.strip()][-_TAIL_LINES:]
    cause = _CAUSE.search(written)
    said = [f"First error in it: {cause[1][:500]}"] if cause else []
    said += ["Its last lines:", *(f"  {line}" for line in lines)] if lines else ["It is empty."]
    return "\n".join([f"vLLM's log: {log}", *said])


def _read(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _READ_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
