"""The programs that these tests run, and why a test that lacks one is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / ".deploy" / "bin"

# What Debian calls the package that has it.
_PACKAGES = {
    "buildah": "buildah",
    "docker-compose": "docker-compose",
    "nginx": "nginx-light",
    "podman": "podman",
    "promtool": "prometheus",
    "prometheus": "prometheus",
}


def program(name: str) -> str:
    """The path of a program of this machine, or of `.deploy`; skips the test if there is none."""
    if (TOOLS / name).exists():
        return str(TOOLS / name)
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        where = f"Debian's {_PACKAGES[name]}" if name in _PACKAGES else "`make setup-deploy`"
        pytest.skip(f"no {name}: {where} has it")
    return found


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    within_s: float = 120,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """A program's output, both streams together; fails with it where the program does."""
    done = subprocess.run(
        argv,
        env=os.environ | dict(env or {}),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert not check or done.returncode == 0, f"{' '.join(argv)}\n{done.stdout[-6000:]}"
    return done
