"""Lines of JSON, plain or gzipped."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; `.gz` is unpacked.

    Raises:
        ValueError: the file cannot be read, or a line is no JSON object; the message names both.
    """
    at = 0
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for at, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"{path}, line {at}: not a JSON object")
                yield row
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {at}: not JSON: {error.msg}") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ValueError(
            f"{path} cannot be read{f' after line {at}' if at else ''}: {why}"
        ) from error


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
