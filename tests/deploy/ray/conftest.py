"""A cluster of two nodes on this machine, a server, and a model that holds still when told to.

Everything listens on loopback. Ray's environment (`make setup-ray`) runs these tests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.deploy.conftest import ASKED, until
from tests.deploy.programs import DEPLOY
from tests.ports import free_port
from tests.processes import descendants
from tests.servers import is_up

BIN = Path(sys.prefix) / "bin"
QUIET = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""Of every process with Ray: the first keeps its ports on loopback."""

_STORE_BYTES = 100 * 1024**2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(Path(__file__).parent)
    for item in items:
        if not str(item.path).startswith(here):
            continue
        item.add_marker(pytest.mark.timeout(600))
        if not ASKED:
            item.add_marker(pytest.mark.skip(reason="`make test-deploy` runs this: it starts Ray"))


class Model:
    """Answers every draw with the same program. Attributes: asked: how often for each question."""

    def __init__(self) -> None:
        self.asked = Counter[bytes]()
        self.url = ""
        self._lock = threading.Lock()
        self._free = threading.Event()
        self._free.set()
        self._holds_after: int | None = None

    def hold_after(self, draws: int) -> None:
        """Answer nothing more after so many draws, until `go_on`."""
        self._free.clear()
        self._holds_after = draws

    def go_on(self) -> None:
        self._free.set()

    def answer(self, body: bytes) -> dict[str, Any]:
        with self._lock:
            self.asked.update(re.findall(rb"number (\d+)", body)[-1:])
            held = self._holds_after is not None and self.asked.total() > self._holds_after
        if held:
            self._free.wait(300)
        choice = {"index": 0, "message": {"content": "answer = 6 * 3"}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}


class _Listener(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


@pytest.fixture
def model() -> Iterator[Model]:
    scripted = Model()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self._answer(scripted.answer(body))

        def do_GET(self) -> None:
            self._answer({"data": [{"id": "cap-small"}]})

        def _answer(self, body: object) -> None:
            content = json.dumps(body).encode()
            with suppress(ConnectionError):  # a draw that is not wanted any more
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = _Listener(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    scripted.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield scripted
    scripted.go_on()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(model: Model, tmp_path: Path) -> Iterator[str]:
    """The URL of a `cap serve` with a real sandbox."""
    port = free_port()
    mine = {
        "CAP_PORT": str(port),
        "CAP_MODEL_URL": model.url,
        "CAP_STATE_DIR": str(tmp_path / "state"),
        "CAP_SANDBOX_WORKERS": "2",
    }
    url, log = f"http://127.0.0.1:{port}", tmp_path / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BIN / "cap", "serve"], stdout=output, stderr=output, env=os.environ | mine
        )
    try:
        until(lambda: is_up(f"{url}/ready"), within_s=120, else_say=log.read_text)
        yield url
    finally:
        process.kill()
        process.wait()


class Node(Protocol):
    """Of Ray's."""

    all_processes: dict[str, Any]


class Cluster(Protocol):
    """Ray's, as far as tests use it."""

    address: str
    head_node: Node
    worker_nodes: set[Node]

    def remove_node(self, node: Node, allow_graceful: bool) -> None: ...


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head, and a second node that a test may remove."""
    monkeypatch.setenv("PYTHONPATH", str(DEPLOY / "ray"))
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    cluster_utils = pytest.importorskip(
        "ray.cluster_utils", reason="Ray is not here: make setup-ray"
    )
    made = cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 6,
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
        },
    )
    made.add_node(num_cpus=6, object_store_memory=_STORE_BYTES)
    yield made
    made.shutdown()


def working(node: Node, title: str) -> set[int]:
    """The processes of a node that do now what `title` says."""
    raylet = node.all_processes["raylet"][0].process.pid
    return {pid for pid in descendants(raylet) if title in _title(pid)}


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
