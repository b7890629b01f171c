"""Prints what an environment holds and lacks; run with that environment's own interpreter.

Two kinds of lines: `has NAME==VERSION` for every distribution, and `fault TEXT` for every file
that pip recorded and that is gone or has another size. 57,000 files take under a second.
"""

import csv
import sys
from importlib.metadata import Distribution, distributions


def main() -> None:
    for distribution in distributions():
        name = f"{distribution.name}=={distribution.version}"
        lines = [f"has {name}", *(f"fault {fault}" for fault in _faults(distribution))]
        sys.stdout.write("\n".join(lines) + "\n")


def _faults(distribution: Distribution) -> list[str]:
    # Not `distribution.files`: from Python 3.12 on it leaves out the files that are gone.
    record = distribution.read_text("RECORD")
    if record is None:
        return [f"{distribution.name}: pip's record of its files is gone"]
    rows = [row for row in csv.reader(record.splitlines()) if row]
    # Python writes compiled files anew whenever it likes.
    checked = ((name, size) for name, _, size in rows if not name.endswith(".pyc"))
    return [fault for name, size in checked if (fault := _fault(distribution, name, size))]


def _fault(distribution: Distribution, name: str, recorded: str) -> str:
    try:
        size = distribution.locate_file(name).stat().st_size  # type: ignore[attr-defined]
    except OSError:
        return f"{name} is gone"
    if recorded in ("", str(size)):
        return ""
    return f"{name} has {size:,} bytes instead of {int(recorded):,}"


if __name__ == "__main__":
    main()
