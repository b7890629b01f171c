"""What an evaluation has measured so far, on disk: a run that was killed goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from cap_server.evaluation.rows import EvaluationError, Row


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row under one strategy.

    Attributes:
        key: tells row and strategy, by their content.
        decision: None where the server failed.
        prior_right: whether the CoT's answer was right; None without one.
    """

    key: str
    decision: str | None
    right: bool = False
    prior_right: bool | None = None
    confidence: float = 0.0
    programs: int = 0
    tokens: int = 0
    failure: str = ""


def key_of(row: Row, strategy: dict[str, Any], *, seed: int | None) -> str:
    content = json.dumps([row.model_dump(), strategy, seed], sort_keys=True)
    return blake2b(content.encode(), digest_size=16).hexdigest()


class Journal:
    """Append-only; a last line that was cut off is passed over.

    Args:
        path: made when it is not there.

    Raises:
        EvaluationError: it cannot be read or written, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.outcomes: dict[str, Outcome] = {}
        try:
            written = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise EvaluationError(f"{path}: {error.strerror}") from error
        whole, _, cut_off = written.rpartition(b"\n")
        for line in whole.splitlines():
            try:
                outcome = Outcome(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise EvaluationError(
                    f"{path} is no journal of an evaluation; name another file with --journal."
                ) from error
            if outcome.decision is not None:  # what failed is tried again
                self.outcomes[outcome.key] = outcome
        try:
            self._file = path.open("ab")
            self._file.truncate(len(written) - len(cut_off))
        except OSError as error:
            raise EvaluationError(f"{path}: {error.strerror}") from error

    def add(self, outcome: Outcome) -> None:
        self.outcomes[outcome.key] = outcome
        self._file.write(json.dumps(asdict(outcome)).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
