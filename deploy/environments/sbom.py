"""What is in the images, as bills of materials: `make sbom`.

    .venv/bin/python deploy/environments/sbom.py dist

Writes `server.cdx.json` and `sandbox.cdx.json` (CycloneDX 1.6, checked against its schema): the
Python distributions that the Dockerfiles install, in the versions of `constraints.txt`. What Debian
brings is in the images' own package database.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
_TOOL = ROOT / ".deploy/bin/cyclonedx-py"
_PROJECT = "cap-refine"

# As the Dockerfiles install them. The sandbox's image takes the package itself without the rest.
IMAGES = {"server": ("", "postgres", "traces"), "sandbox": ("sandbox",)}


def installed(extras: Iterable[str]) -> dict[str, str]:
    """Every distribution that `extras` of the project need, directly or not, and its version.

    Args:
        extras: `""` stands for what the project always needs.
    """
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    left = [(_PROJECT, extra) for extra in extras]
    while left:
        owner = left.pop()
        if owner in seen:
            continue
        seen.add(owner)
        for requirement in _needed(*owner):
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            found[name] = version(name)
            left += [(name, extra) for extra in ("", *requirement.extras)]
    return found


def _needed(name: str, extra: str) -> list[Requirement]:
    """What `extra` of a distribution adds; without one, what it needs anyway."""
    parsed = [Requirement(text) for text in requires(name) or ()]
    always = [each for each in parsed if each.marker is None or each.marker.evaluate({"extra": ""})]
    if not extra:
        return always
    return [
        each
        for each in parsed
        if each.marker and each.marker.evaluate({"extra": extra}) and each not in always
    ]


def write(image: str, file: Path, *, tool: Path = _TOOL) -> None:
    """Raises: subprocess.CalledProcessError: the tool refuses, and says why."""
    lines = [f"{name}=={number}" for name, number in sorted(installed(IMAGES[image]).items())]
    command = [str(tool), "requirements", "--output-reproducible", "--validate", "--of", "JSON"]
    about = ["--pyproject", str(ROOT / "pyproject.toml"), "-o", str(file), "-"]
    subprocess.run([*command, *about], input="\n".join(lines), text=True, check=True)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    if not _TOOL.exists():
        sys.exit("no cyclonedx-py: `make setup-deploy` has it")
    folder.mkdir(parents=True, exist_ok=True)
    for image in IMAGES:
        file = folder / f"{image}.cdx.json"
        write(image, file)
        sys.stdout.write(f"{file}: {len(installed(IMAGES[image]))} distributions\n")


if __name__ == "__main__":
    main()
