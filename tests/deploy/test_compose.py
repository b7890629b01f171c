"""`deploy/compose.yaml`, really brought up: a refinement goes through it, and nothing gets out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cap_server.example import EXAMPLE
from tests.deploy.conftest import until
from tests.deploy.containers import Podman
from tests.deploy.programs import DEPLOY, program, run
from tests.ports import free_port
from tests.server.scrapes import Scrape

pytestmark = pytest.mark.timeout(3600)

KEY = "correct-horse"
PROJECT = "cap-test"
WRONG = {"question": EXAMPLE.question, "cot": EXAMPLE.cot, "strategy": "majority"}


@dataclass(frozen=True)
class Running:
    podman: Podman
    client: httpx.Client
    port: int

    def container(self, service: str) -> str:
        return f"{PROJECT}_{service}_1"

    def python(self, service: str, code: str) -> str:
        return self.podman("exec", self.container(service), "/opt/cap/bin/python", "-c", code)


@pytest.fixture(scope="module")
def compose(
    podman: Podman, images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    secret, port = tmp_path_factory.mktemp("secrets") / "api_keys", free_port()
    secret.write_text(f"{KEY}\n")
    environment = podman.environment | {
        "CAP_API_KEYS_FILE": str(secret),
        "CAP_PORT": str(port),
        "CAP_SERVER_IMAGE": images["server"],
        "CAP_SANDBOX_IMAGE": images["sandbox"],
        "CAP_ENGINE_IMAGE": images["engine-cpu"],
    }
    command = [program("podman-compose"), "-p", PROJECT, "-f", str(DEPLOY / "compose.yaml")]
    run([*command, "up", "--detach", "--no-build"], env=environment, within_s=300)
    headers = {"Authorization": f"Bearer {KEY}"}
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120
        ) as client:
            running = Running(podman, client, port)
            until(
                lambda: _ready(client),
                within_s=600,
                else_say=lambda: podman.logs(running.container("engine")),
            )
            yield running
    finally:
        run([*command, "down", "--volumes"], env=environment, within_s=300)


def test_a_refinement_goes_through(compose: Running) -> None:
    assert compose.client.get("/v1/models", headers={"Authorization": "no"}).status_code == 401
    body = compose.client.post("/v1/refine", json=WRONG).json()
    assert body["model"] == "cap-small"
    assert body["execution"]["status"] == "ok"
    assert body["decision"] in ("corrected", "kept")
    assert body["usage"]["executions"] >= 1


def test_a_streamed_refinement_arrives_as_it_happens(compose: Running) -> None:
    response = compose.client.post("/v1/refine", json={**WRONG, "stream": True})
    events = [line for line in response.text.splitlines() if line.startswith("event: ")]
    assert events[-1] == "event: decision"
    assert "event: candidate" in events


def test_the_sandbox_reaches_nothing_and_nothing_is_written(compose: Running) -> None:
    said = compose.python("sandbox", _REACH)
    assert json.loads(said) == {"engine": False, "gateway": False, "write": False}


def test_only_the_server_can_be_reached_from_the_host(compose: Running) -> None:
    for service in ("sandbox", "engine"):
        published = compose.podman("port", compose.container(service), check=False)
        assert published == ""
    assert compose.podman("port", compose.container("server")) == (
        f"8000/tcp -> 127.0.0.1:{compose.port}"
    )


def test_prometheus_scrapes_server_and_sandbox(compose: Running, tmp_path: Path) -> None:
    before = Scrape(compose.client.get("/metrics").text)
    compose.client.post("/v1/refine", json=WRONG)
    after = Scrape(compose.client.get("/metrics").text)
    executed = [told("cap_executions_total", status="ok") for told in (before, after)]
    assert executed[1] > executed[0]
    pool = Scrape(compose.python("server", _SCRAPE_SANDBOX))
    assert pool("cap_sandbox_programs_total", status="ok") >= executed[1]
    assert pool("cap_sandbox_tier", tier="standard") == 1


def test_what_runs_when_it_is_told_to_end_comes_to_its_end(compose: Running) -> None:
    """Last in this file: the server is gone afterwards."""
    long = {**WRONG, "strategy": {"name": "majority", "programs": 64}, "stream": True}
    with compose.client.stream("POST", "/v1/refine", json=long) as response:
        pieces = response.iter_text()
        said = next(pieces)
        compose.podman("kill", "--signal=TERM", compose.container("server"))
        said += "".join(pieces)
    assert said.endswith("data: [DONE]\n\n")
    assert compose.podman("wait", compose.container("server")) == "0"
    with pytest.raises(httpx.HTTPError):
        compose.client.get("/health")


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


_SCRAPE_SANDBOX = """
import urllib.request
print(urllib.request.urlopen("http://sandbox:8002/metrics", timeout=10).read().decode())
"""

_REACH = """
import json, socket

def reaches(host, port):
    try:
        socket.create_connection((host, port), 3).close()
    except OSError:
        return False
    return True

def writes():
    try:
        open("/written", "w").close()
    except OSError:
        return False
    return True

gateway = socket.gethostbyname(socket.gethostname()).rpartition(".")[0] + ".1"
print(json.dumps({
    "engine": reaches("engine", 8001), "gateway": reaches(gateway, 22), "write": writes()
}))
"""
