"""Images and containers by podman and buildah, without a registry.

The base images come from debootstrap where they are not there yet. Containers run under Docker's
own seccomp profile, which allows less than podman's: no user namespaces.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.programs import DEPLOY, program, run

IMAGES = ("server", "sandbox", "engine-cpu")
# Where Debian's golang-github-docker-docker-dev has the profile that Docker is built with.
DOCKER_PROFILE = Path(
    "/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json"
)
_TRUSTED = Path("/etc/ssl/certs/ca-certificates.crt")
HARDENED = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--pids-limit=512",
    "--memory=4g",
    "--tmpfs=/tmp:rw,nosuid,nodev,size=256m,mode=1777",
)

_CONFIGURATION = """\
[containers]
log_driver = "k8s-file"
seccomp_profile = "{profile}"
default_ulimits = ["nofile=16384:16384", "nproc=8192:8192"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
"""
# Documentation and translations, which Debian's own slim images leave out too.
_LEFT_OUT = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
)


@dataclass(frozen=True)
class Podman:
    """Attributes: environment: what podman and buildah are started with."""

    environment: dict[str, str]

    def __call__(self, *arguments: str, within_s: float = 120, check: bool = True) -> str:
        argv = [program("podman"), "--log-level=fatal", *arguments]
        return run(argv, env=self.environment, within_s=within_s, check=check).stdout.strip()

    def logs(self, name: str) -> str:
        return self("logs", name, check=False)[-6000:]


def podman(folder: Path) -> Podman:
    """Podman as these tests need it; skips where this machine cannot run it."""
    if os.geteuid() != 0:
        pytest.skip("containers are run as root here: rootless podman has no cgroup limits")
    for name in ("podman", "buildah", "runc"):
        program(name)
    if not DOCKER_PROFILE.exists():
        pytest.skip(f"no {DOCKER_PROFILE}: Debian's golang-github-docker-docker-dev has it")
    configuration = folder / "containers.conf"
    configuration.write_text(_CONFIGURATION.format(profile=DOCKER_PROFILE))
    return Podman({"CONTAINERS_CONF": str(configuration)})


def build(podman: Podman, name: str, folder: Path) -> str:
    """The tag of the image of `deploy/docker/NAME.Dockerfile`, built from what is here now."""
    file = DEPLOY / "docker" / f"{name}.Dockerfile"
    _make_base(podman, base_of(file), folder)
    tag = f"localhost/cap-{name}"
    argv = [
        program("buildah"),
        "build",
        "--pull-never",
        "--layers",
        "--isolation=chroot",
        "--format=docker",
        *_pip_of_this_machine(),
        f"--file={file}",
        f"--tag={tag}",
        ".",
    ]
    run(argv, env=podman.environment, within_s=1800)
    return tag


def _pip_of_this_machine() -> Sequence[str]:
    """What a build needs to reach the packages that this machine reaches."""
    wheels = [Path(each) for each in os.environ.get("PIP_FIND_LINKS", "").split()]
    mounted = {each: each for each in (Path("/etc/pip.conf"), *wheels)}
    # From there Debian's ca-certificates puts it into its bundle; that itself cannot be mounted,
    # since the package writes it anew.
    mounted[_TRUSTED] = Path("/usr/local/share/ca-certificates/of-this-machine.crt")
    volumes = [f"--volume={here}:{there}:ro" for here, there in mounted.items() if here.exists()]
    return [*volumes, *(f"--build-arg=PIP_FIND_LINKS={each}" for each in wheels[:1])]


def base_of(dockerfile: Path) -> str:
    """The image that a Dockerfile of ours starts from: Debian's slim one, by its release."""
    found = re.search(
        r"^ARG BASE=(docker\.io/library/debian:[a-z]+-slim)$", dockerfile.read_text("utf-8"), re.M
    )
    assert found, dockerfile
    return found[1]


def _make_base(podman: Podman, base: str, folder: Path) -> None:
    if (
        subprocess.run(
            [program("podman"), "image", "exists", base],
            env=os.environ | podman.environment,
            check=False,
            capture_output=True,
        ).returncode
        == 0
    ):
        return
    release = base.rpartition(":")[2].removesuffix("-slim")
    root = folder / release
    mirror = "http://deb.debian.org/debian"
    run(
        [program("debootstrap"), "--variant=minbase", release, str(root), mirror],
        within_s=900,
    )
    run(["rm", "-rf", *(str(root / each) for each in _LEFT_OUT)])
    archive = folder / f"{release}.tar"
    run(["tar", "-C", str(root), "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*",
         "-cf", str(archive), "."])  # fmt: skip
    podman("import", "--quiet", str(archive), base)
