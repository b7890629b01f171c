"""What the answers in a file were drawn from: those of one model must not pass for another's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cap_training.data.files import sha256
from cap_training.failures import RowsError, RunError
from cap_training.watch import write_whole


def claim(record: Path, ours: Mapping[str, Any]) -> None:
    """Notes in `record` what is about to be asked, and how.

    Raises:
        RunError: something else was asked there before; the message says what differs.
    """
    if record.exists():
        theirs = json.loads(record.read_text("utf-8"))
        other = [name for name in ours if theirs.get(name) != ours[name]]
        if other:
            found = ", ".join(f"{name} was {theirs.get(name)}" for name in other)
            raise RunError(f"{record} tells of another run: {found}. Choose another place.")
    record.parent.mkdir(parents=True, exist_ok=True)
    write_whole(record, json.dumps(dict(ours), indent=1, ensure_ascii=False))


def digests(files: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 sums of files, by their paths.

    Raises:
        RowsError: one cannot be read.
    """
    try:
        return {str(path): sha256(path) for path in files}
    except OSError as error:
        raise RowsError(f"{error.filename} cannot be read: {error.strerror}") from error
