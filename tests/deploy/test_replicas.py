"""Two replicas behind nginx: one is killed, one is restarted, and no request is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.deploy.conftest import ASKED, until
from tests.deploy.programs import DEPLOY, program
from tests.ports import free_port
from tests.servers import is_up

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not ASKED, reason="`make test-deploy` runs this: it starts six processes"),
]

BIN = Path(sys.prefix) / "bin"
REQUESTS, AT_ONCE = 120, 12
WRONG = {
    "question": "What is 6 times 3?",
    "cot": "6 * 3 = 26. The answer is 26.",
    "strategy": "majority",
    "source": "somebody",
}


class _Model(BaseHTTPRequestHandler):
    """Answers every chat with the same program, after a moment, as a model does."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        threading.Event().wait(0.05)
        choice = {"index": 0, "message": {"content": "answer = 6 * 3"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 5}
        self._answer({"choices": [choice], "usage": usage})

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "cap-small"}]})

    def _answer(self, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Listener(ThreadingHTTPServer):
    request_queue_size = 512  # all draws of all requests at once


@pytest.fixture
def model_url() -> Iterator[str]:
    server = _Listener(("127.0.0.1", 0), _Model)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Replica:
    port: int
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]

    def again(self) -> None:
        self.process = self.start()
        self.wait()

    def wait(self) -> None:
        url = f"http://127.0.0.1:{self.port}/ready"
        until(lambda: is_up(url), within_s=120, else_say=lambda: f"{url} is not ready")


@contextmanager
def started(argv: list[str], log: Path, **variables: str) -> Iterator[Replica]:
    """A process with its own log, killed at the end."""

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(argv, stdout=output, stderr=output, env=os.environ | variables)

    replica = Replica(int(variables.get("CAP_PORT", "0")), start, start())
    try:
        yield replica
    finally:
        replica.process.kill()
        replica.process.wait()


@pytest.fixture
def replicas(tmp_path: Path, model_url: str) -> Iterator[tuple[Replica, Replica]]:
    sandbox = f"unix://{tmp_path}/sandbox.sock"
    serve = [str(BIN / "cap-sandbox"), "serve", "--bind", sandbox, "--workers", "2"]
    shared = {
        "CAP_MODEL_URL": model_url,
        "CAP_SANDBOX_URL": sandbox,
        "CAP_DATABASE_URL": f"sqlite:///{tmp_path}/trust.db",
        "CAP_DRAIN_S": "30",
    }
    ports = [str(free_port()), str(free_port())]
    cap = [str(BIN / "cap"), "serve"]
    with (
        started(serve, tmp_path / "sandbox.log"),
        started(cap, tmp_path / "one.log", CAP_PORT=ports[0], **shared) as one,
        started(cap, tmp_path / "other.log", CAP_PORT=ports[1], **shared) as other,
    ):
        for replica in (one, other):
            replica.wait()
        yield one, other


@pytest.fixture
def proxy(tmp_path: Path, replicas: tuple[Replica, Replica]) -> Iterator[str]:
    """Nginx with the project's own configuration, at other ports."""
    port, (one, other) = free_port(), replicas
    shipped = (DEPLOY / "proxy/nginx.conf").read_text("utf-8")
    for there, here in (("8000", one.port), ("8010", other.port), ("8080", port)):
        assert f"127.0.0.1:{there}" in shipped
        shipped = shipped.replace(f"127.0.0.1:{there}", f"127.0.0.1:{here}")
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\n"
        "events {}\n"
        f"http {{ access_log off; client_body_temp_path {tmp_path}/body;\n"
        f"proxy_temp_path {tmp_path}/proxy;\n{shipped}}}\n"
    )
    argv = [program("nginx"), "-p", str(tmp_path), "-c", str(configuration)]
    with started(argv, tmp_path / "nginx.log"):
        url = f"http://127.0.0.1:{port}"
        until(lambda: is_up(f"{url}/health"), within_s=60, else_say=lambda: url)
        yield url


async def test_a_replica_that_is_killed_loses_no_request(
    proxy: str, replicas: tuple[Replica, Replica]
) -> None:
    one, other = replicas
    answers = await _under_load(proxy, lambda: os.kill(one.process.pid, signal.SIGKILL))
    assert {(answer.status_code, answer.json()["answer"]) for answer in answers} == {(200, "18")}
    assert len(answers) == REQUESTS
    assert one.process.wait() == -signal.SIGKILL
    assert is_up(f"http://127.0.0.1:{other.port}/health")


async def test_a_rolling_restart_loses_no_request_and_no_trust(
    proxy: str, replicas: tuple[Replica, Replica]
) -> None:
    one, other = replicas

    def restart() -> None:
        for replica in (one, other):
            replica.process.send_signal(signal.SIGTERM)
            assert replica.process.wait(60) == 0
            replica.again()

    answers = await _under_load(proxy, restart)
    assert {(answer.status_code, answer.json()["answer"]) for answer in answers} == {(200, "18")}
    # Each replica comes to know all refinements, whichever made them.
    for replica in (one, other):
        url = f"http://127.0.0.1:{replica.port}/v1/sources"
        until(
            lambda url=url: _known(url) == REQUESTS,  # type: ignore[misc]
            within_s=60,
            else_say=lambda url=url: f"{url} knows {_known(url)}",  # type: ignore[misc]
        )


async def test_metrics_do_not_leave_through_the_proxy(proxy: str) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{proxy}/metrics")).status_code == 404
        assert (await client.get(f"{proxy}/health")).status_code == 200


async def _under_load(proxy: str, disturb: Callable[[], None]) -> list[httpx.Response]:
    """The answers to all requests, `disturb` done when a quarter of them have come."""
    places, answers = asyncio.Semaphore(AT_ONCE), list[httpx.Response]()
    quarter = asyncio.Event()
    async with httpx.AsyncClient(base_url=proxy, timeout=120) as client:

        async def ask() -> None:
            async with places:
                answers.append(await client.post("/v1/refine", json=WRONG))
            if len(answers) >= REQUESTS // 4:
                quarter.set()

        async with asyncio.TaskGroup() as group:
            for _ in range(REQUESTS):
                group.create_task(ask())
            await quarter.wait()
            await asyncio.to_thread(disturb)
    return answers


def _known(url: str) -> int:
    sources = httpx.get(url, timeout=20).json()["data"]
    return sum(int(each["requests"]) for each in sources if each["source"] == "somebody")
