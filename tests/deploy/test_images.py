"""The images, built and run as hardened as can be, under Docker's seccomp profile."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.deploy.conftest import until
from tests.deploy.containers import HARDENED, Podman
from tests.deploy.programs import ROOT, run
from tests.ports import free_port

pytestmark = pytest.mark.timeout(3600)

MEGABYTE = 1000**2
PYTHON = "/opt/cap/bin/python"


@contextmanager
def running(podman: Podman, image: str, *arguments: str, port: int = 0) -> Iterator[str]:
    """A hardened container's name; it is removed at the end."""
    name = f"cap-test-{free_port()}"
    published = (f"--publish=127.0.0.1:{port}:8000",) if port else ()
    options = [each for each in arguments if each.startswith("-")]
    command = [each for each in arguments if not each.startswith("-")]
    podman("run", "--detach", f"--name={name}", *HARDENED, *published, *options, image, *command)
    try:
        yield name
    finally:
        podman("rm", "--force", "--time=0", name)


@pytest.mark.parametrize(("name", "most_mb"), [("server", 300), ("sandbox", 300)])
def test_images_are_small_run_as_nobody_and_say_how_they_are(
    podman: Podman, images: Mapping[str, str], name: str, most_mb: int
) -> None:
    [image] = json.loads(podman("image", "inspect", images[name]))
    assert image["Size"] < most_mb * MEGABYTE
    assert image["Config"]["User"] == "65532:65532"
    assert image["Config"]["StopSignal"] in ("SIGTERM", "15", "")
    assert image["Config"]["Labels"]["org.opencontainers.image.title"].startswith("CaP")
    assert image["Healthcheck"]["Test"][0] == "CMD"


@pytest.mark.parametrize("name", ["server", "sandbox"])
def test_images_hold_no_build_tools_and_no_tests(
    podman: Podman, images: Mapping[str, str], name: str
) -> None:
    look = (
        "import importlib.util as u, os, shutil\n"
        "tools = [t for t in ('gcc', 'cc', 'make', 'git', 'curl', 'strip') if shutil.which(t)]\n"
        "modules = [m for m in ('pip', 'setuptools', 'pytest') if u.find_spec(m)]\n"
        "tests = [d for d, _, _ in os.walk('/opt/cap') if d.endswith('/tests')]\n"
        "print(tools + modules + tests)"
    )
    said = podman(
        "run", "--rm", "--network=none", *HARDENED, f"--entrypoint={PYTHON}", images[name],
        "-c", look,
    )  # fmt: skip
    assert said == "[]"


def test_the_sandboxs_image_holds_nothing_of_the_server(
    podman: Podman, images: Mapping[str, str]
) -> None:
    look = (
        "import importlib.metadata as m, importlib.util as u\n"
        "print(sorted(d.name for d in m.distributions()), u.find_spec('cap_server'))"
    )
    said = podman(
        "run", "--rm", "--network=none", *HARDENED, f"--entrypoint={PYTHON}", images["sandbox"],
        "-c", look,
    )  # fmt: skip
    assert said == "['RestrictedPython', 'h11', 'mpmath', 'numpy', 'sympy'] None"


def test_the_sandbox_holds_in_its_container(podman: Podman, images: Mapping[str, str]) -> None:
    said = podman("run", "--rm", "--network=none", *HARDENED, images["sandbox"], "check", "--json")
    report = json.loads(said)
    assert report["tier"] in ("standard", "strong")
    assert report["holds"]


def test_the_attacks_get_nowhere_in_the_container(
    podman: Podman, images: Mapping[str, str], tmp_path: Path
) -> None:
    packages = tmp_path / "pytest"
    wanted = ["pytest", "pytest-asyncio", "pytest-timeout"]
    pins = ["-c", str(ROOT / "constraints.txt"), "--target", str(packages)]
    run([sys.executable, "-m", "pip", "install", "-q", *pins, *wanted], within_s=600)
    mounts = {
        packages: "/packages",
        ROOT / "tests/__init__.py": "/suite/tests/__init__.py",
        ROOT / "tests/sandbox": "/suite/tests/sandbox",
    }
    said = podman(
        "run", "--rm", "--network=none", *HARDENED,
        *(f"--volume={here}:{there}:ro" for here, there in mounts.items()),
        "--env=PYTHONPATH=/packages:/suite", "--env=HOME=/tmp", "--workdir=/suite",
        f"--entrypoint={PYTHON}", images["sandbox"],
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=/suite",
        "--override-ini=asyncio_mode=auto", "--timeout=600", "tests/sandbox/test_attacks.py",
        within_s=1800,
    )  # fmt: skip
    assert " passed" in said.splitlines()[-1]
    assert "failed" not in said.splitlines()[-1]


def test_the_server_says_what_it_lacks_and_ends_when_it_is_told_to(
    podman: Podman, images: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("sesame")
    tmp_path.chmod(0o755)
    port = free_port()
    options = (
        f"--volume={tmp_path}:/run/secrets:ro",
        "--env=CAP_API_KEYS_FILE=/run/secrets/keys",
        "--env=CAP_API_KEYS_EXECUTE=1",
        "--env=CAP_MODEL_URL=http://127.0.0.1:1/v1",
    )
    with (
        running(podman, images["server"], *options, port=port) as name,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
    ):
        until(lambda: _alive(client), within_s=120, else_say=lambda: podman.logs(name))
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert not ready.json()["checks"]["model"]["ready"]
        assert ready.json()["checks"]["sandbox"] == {"ready": True, "detail": "standard"}
        assert client.get("/v1/models").status_code == 401
        program = {"program": "from sympy import sqrt\nanswer = sqrt(8)"}
        headers = {"Authorization": "Bearer sesame"}
        ran = client.post("/v1/execute", json=program, headers=headers)
        assert ran.json()["value"]["text"] == "2*sqrt(2)"
        podman("stop", "--time=60", name)
        [state] = json.loads(podman("inspect", name))
        assert state["State"]["ExitCode"] == 0


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("CAP_API_KEYS_FILE=/run/secrets/nowhere", "CAP_API_KEYS_FILE names"),
        ("CAP_MODEL_URL=model:8001", "CAP_MODEL_URL"),
    ],
)
def test_a_wrong_setting_ends_the_container_with_its_name(
    podman: Podman, images: Mapping[str, str], setting: str, says: str
) -> None:
    variables = [f"--env={each}" for each in setting.split(" ")]
    with running(podman, images["server"], "--network=none", *variables) as name:
        assert podman("wait", name) == "2"
        said = podman.logs(name)
    assert says in said.replace("\n", " ")
    assert "Traceback" not in said


def _alive(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
