"""A virtual environment as it should be: why one is not, and how one is made.

Any fault is repaired by making the environment anew: the one repair that cannot leave something
half-mended.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from steps import Progress, SetupError, Work

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
STAMP = "cap-setup.json"


@dataclass(frozen=True)
class Environment:
    """One virtual environment, as it should be.

    Attributes:
        path: its folder.
        requirements: arguments for `pip install`.
        probe: the module whose import proves that it works.
        torch: a requirement installed first, from `torch_index` where pip knows no other source.
        absent: distributions to take out again.
        inputs: whatever else decides the content, for the stamp.
        needs_gb: free space to ask for.
    """

    path: Path
    requirements: tuple[str, ...]
    probe: str
    torch: str = ""
    torch_index: str = ""
    absent: tuple[str, ...] = ()
    inputs: str = ""
    needs_gb: float = 1.0

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def python(self) -> str:
        return str(self.path / "bin" / "python")

    @property
    def asked(self) -> str:
        """A hash of everything that decides what is in it."""
        parts = [VERSION, self.requirements, self.torch, self.absent, self.inputs]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Contents:
    """What `recorded_files.py` found in an environment."""

    installed: frozenset[str]
    faults: frozenset[str]


def fault(environment: Environment) -> str:
    """Says in one line why the environment is not right; empty when it is."""
    if not environment.path.exists():
        return "is not there yet"
    stamp = _stamp(environment)
    if stamp is None:
        return "was never finished"
    if stamp["asked"] != environment.asked:
        return "was made for other requirements"
    contents = inspect(environment)
    if contents is None:
        return "has a Python that does not start"
    return _difference(environment, stamp, contents)


def _difference(environment: Environment, stamp: dict[str, object], contents: Contents) -> str:
    installed, known = _texts(stamp["installed"]), _texts(stamp["known_faults"])
    present = {name.partition("==")[0].lower() for name in contents.installed}
    faults = [
        *sorted(contents.faults - known),
        *(f"{name} is not installed" for name in sorted(installed - contents.installed)),
        *(f"{name} is installed" for name in environment.absent if name in present),
    ]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"is damaged: {faults[0]}{more}" if faults else ""


def inspect(environment: Environment) -> Contents | None:
    """Looks at every recorded file; `None` when the environment's Python does not start."""
    script = str(Path(__file__).with_name("recorded_files.py"))
    try:
        done = subprocess.run(
            [environment.python, "-I", script], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    if done.returncode != 0:
        return None
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    return Contents(
        installed=frozenset(text for kind, _, text in lines if kind == "has"),
        faults=frozenset(text for kind, _, text in lines if kind == "fault"),
    )


def install(environment: Environment, work: Work) -> None:
    """Makes the environment anew.

    Raises:
        SetupError: a step failed. Without its stamp, the next run starts over.
    """
    if environment.path.exists():
        _remove(environment.path)
    _check_space(environment)
    name = environment.name
    # From within a virtual environment, its own base: the new one must not hang on another.
    base = getattr(sys, "_base_executable", None) or sys.executable
    work.step(f"{name}: new environment", [base, "-m", "venv", str(environment.path)])
    if environment.torch:
        _install_torch(environment, work)
    wanted = " ".join(environment.requirements)
    shown = "the project" if "--editable" in wanted else wanted
    work.step(f"{name}: installing {shown}", [*_pip(environment), *environment.requirements])
    if environment.absent:
        uninstall = [environment.python, "-I", "-m", "pip", "uninstall", "--yes"]
        work.step(f"{name}: removing builds for CUDA", [*uninstall, *environment.absent])
    probe = [environment.python, "-I", "-c", f"import {environment.probe}"]
    work.step(f"{name}: trying an import", probe)
    _write_stamp(environment)


def _install_torch(environment: Environment, work: Work) -> None:
    title = f"{environment.name}: installing {environment.torch}"
    asked = [*_pip(environment), "--no-deps", environment.torch]
    question = f"{environment.name}: does pip know a source of {environment.torch}"
    if work.succeeds(question, [*asked, "--dry-run"]):
        work.step(title, asked)
    else:
        # With --no-deps, torch is the only thing that this index can give.
        index = ["--extra-index-url", environment.torch_index]
        work.step(f"{title} from {environment.torch_index}", [*asked, *index])


def _pip(environment: Environment) -> list[str]:
    quiet = ["--progress-bar", "off", "--disable-pip-version-check"]
    return [environment.python, "-I", "-m", "pip", "install", *quiet]


def _check_space(environment: Environment) -> None:
    free_gb = shutil.disk_usage(environment.path.parent).free / 1e9
    if free_gb < environment.needs_gb:
        raise SetupError(
            f"{environment.name} needs about {environment.needs_gb:g} GB of free space in "
            f"{environment.path.parent}; there are {free_gb:.1f}."
        )


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        raise SetupError(f"{path} is not a folder; move it away.")
    progress = Progress(f"{path.name}: removing what is there")
    (path / STAMP).unlink(missing_ok=True)  # before any other change
    shutil.rmtree(path)
    progress.end("done")


def _stamp(environment: Environment) -> dict[str, object] | None:
    try:
        stamp = json.loads((environment.path / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    complete = isinstance(stamp, dict) and {"asked", "installed", "known_faults"} <= stamp.keys()
    return stamp if complete else None


def _write_stamp(environment: Environment) -> None:
    contents = inspect(environment)
    if contents is None:
        raise SetupError(f"{environment.name} was made, but its Python does not start.")
    stamp = {
        "asked": environment.asked,
        "installed": sorted(contents.installed),
        # A package whose own list of files is wrong must not be installed again for ever.
        "known_faults": sorted(contents.faults),
    }
    unfinished = environment.path / f"{STAMP}.new"
    unfinished.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    unfinished.replace(environment.path / STAMP)


def _texts(value: object) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()
