"""The service takes programs over HTTP, and whatever else comes it refuses and goes on."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from cap_sandbox import Pool
from cap_sandbox.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDLESS = {"program": "while True: pass", "limits": {"wall_s": 60}}
JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    async with (
        Pool(workers=1, max_queue=2) as pool,
        Service(pool, max_connections=20).listening("127.0.0.1:0") as url,
    ):
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as opened:
        yield opened


async def assert_serves(client: httpx.AsyncClient) -> None:
    body = {"program": "answer = 6 * 7", "limits": {"wall_s": 20}}
    response = await client.post("/execute", json=body)
    assert response.json()["value"] == {"type": "int", "text": "42"}


async def test_an_execution_has_the_shape_of_the_servers(client: httpx.AsyncClient) -> None:
    response = await client.post("/execute", json={"program": "print(1)\nanswer = [1/2]"})
    execution = response.json()
    assert response.status_code == 200
    assert execution.pop("wall_s") > 0
    assert execution.pop("cpu_s") >= 0
    assert execution.pop("peak_memory_bytes") > 0
    items = [{"type": "float", "text": "0.5"}]
    value = {"type": "list", "text": "[0.5]", "items": items}
    assert execution == {"status": "ok", "value": value, "stdout": "1\n", "stderr": ""}


async def test_ready_tells_tier_and_layers(client: httpx.AsyncClient) -> None:
    ready = (await client.get("/ready")).json()
    assert ready["ready"]
    assert ready["tier"] in ("basic", "standard", "strong")
    assert ready["layers"]["seccomp"]
    assert (await client.get("/health")).json() == {"status": "alive"}


async def test_metrics_tell_what_the_pool_does_in_prometheus_format(
    client: httpx.AsyncClient,
) -> None:
    before = await _samples(client)
    await assert_serves(client)
    after = await _samples(client)
    assert after['cap_sandbox_programs_total{status="ok"}'] == 1 + before.get(
        'cap_sandbox_programs_total{status="ok"}', 0
    )
    assert after["cap_sandbox_workers"] == 1
    assert after["cap_sandbox_waiting"] == after["cap_sandbox_running"] == 0
    assert after["cap_sandbox_spawn_seconds_total"] > 0
    assert [name for name in after if name.startswith("cap_sandbox_tier")]


async def _samples(client: httpx.AsyncClient) -> dict[str, float]:
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


REFUSED = [
    ("GET", "/nothing", b"", JSON, 404, None),
    ("GET", "/execute", b"", JSON, 405, None),
    ("POST", "/execute", b'{"program": "1"}', {}, 415, None),
    ("POST", "/execute", b"{", JSON, 422, None),
    ("POST", "/execute", b"[" * 100_000, JSON, 422, None),
    ("POST", "/execute", b"[]", JSON, 422, None),
    ("POST", "/execute", b'{"program": 1}', JSON, 422, "program"),
    ("POST", "/execute", b'{"program": "1", "more": 1}', JSON, 422, None),
    ("POST", "/execute", b'{"program": "1", "limits": {"cores": 1}}', JSON, 422, "limits"),
    ("POST", "/execute", b'{"program": "1", "limits": {"wall_s": 0}}', JSON, 422, "limits"),
    ("POST", "/execute", b'{"program": "1", "limits": {"wall_s": NaN}}', JSON, 422, "limits"),
    (
        "POST", "/execute", b'{"program": "1", "limits": {"memory_bytes": true}}', JSON, 422,
        "limits.memory_bytes",
    ),
    ("POST", "/execute", b" " * 10**6, JSON, 413, None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "param"), REFUSED)
async def test_a_request_for_nothing_is_an_error_in_the_servers_shape(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    param: str | None,
) -> None:
    response = await client.request(method, path, content=body, headers=headers)
    assert response.status_code == status
    fault = response.json()["error"]
    assert set(fault) == {"message", "type", "param", "code"}
    assert (fault["type"], fault["param"]) == ("invalid_request_error", param)
    await assert_serves(client)


NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /health\r\n\r\n",
    b"GET /health HTTP/1.1\r\n\r\n",
    b"POST /execute HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"POST /execute HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /execute HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"POST /execute HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /execute HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000,
    b"x" * 20_000,
]


@pytest.mark.parametrize("sent", NO_HTTP)
async def test_what_is_no_http_is_refused_and_cut_off(
    url: str, client: httpx.AsyncClient, sent: bytes
) -> None:
    reader, writer = await connect(url)
    writer.write(sent)
    async with asyncio.timeout(30):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 501")
    writer.close()
    await assert_serves(client)


async def test_requests_in_a_row_are_answered_in_a_row(url: str) -> None:
    reader, writer = await connect(url)
    writer.write(2 * b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(30):
        for _ in range(2):
            assert b"200" in await reader.readuntil(b"alive")
    writer.close()


async def test_a_full_queue_says_when_to_come_back(client: httpx.AsyncClient) -> None:
    # One runs, two wait, and whichever comes last is refused.
    under_way = [asyncio.ensure_future(client.post("/execute", json=ENDLESS)) for _ in range(4)]
    (refused,), others = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    response = refused.result()
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["error"]["code"] == "queue_full"
    async with asyncio.timeout(20):
        await assert_serves(client)


async def test_a_client_that_leaves_ends_its_program(url: str, client: httpx.AsyncClient) -> None:
    body = json.dumps(ENDLESS).encode()
    head = (
        "POST /execute HTTP/1.1\r\nHost: a\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in range(5):
        _, writer = await connect(url)
        writer.write(head.encode() + body)
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
    # They would run for a minute each, one after the other.
    async with asyncio.timeout(40):
        await assert_serves(client)


async def test_more_clients_than_allowed_are_turned_away(
    url: str, client: httpx.AsyncClient
) -> None:
    clients = [await connect(url) for _ in range(30)]
    answers = [asyncio.ensure_future(reader.read()) for reader, _ in clients]
    async with asyncio.timeout(30):
        told, waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    assert all(b"503" in answer.result() for answer in told)
    for answer in waiting:
        answer.cancel()
    for _, writer in clients:
        writer.close()
    async with asyncio.timeout(30):
        while not await has_room(url):  # noqa: ASYNC110  # nobody announces it
            await asyncio.sleep(0.05)
    await assert_serves(client)


async def has_room(url: str) -> bool:
    """Whether a new client would be served."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as other:
        return (await other.get("/health")).status_code == 200


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlsplit(url)
    return await asyncio.open_connection(place.hostname, place.port)


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service as a process of its own, and what it says when it is ready."""
    command = [sys.executable, "-m", "cap_sandbox.service", "serve", "--workers", "1", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr.readline()
        finally:
            process.kill()


async def arrived(client: httpx.AsyncClient) -> None:
    """Return once the service has what was sent before: it takes clients as they come."""
    await asyncio.sleep(0.2)
    for _ in range(3):
        await client.get("/health")


async def test_the_end_waits_for_what_runs_and_leaves_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with started("--bind", f"unix://{path}") as (process, said):
        assert f"ready at unix://{path}" in said
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(base_url="http://a", transport=transport) as client:
            program = "import time\ntime.sleep(3)\nanswer = 1"
            body = {"program": program, "limits": {"wall_s": 20}}
            running = asyncio.ensure_future(client.post("/execute", json=body, timeout=60))
            await arrived(client)
            process.send_signal(signal.SIGTERM)
            response = await running
            assert response.json()["value"]["text"] == "1"
            assert response.headers["connection"] == "close"
        assert await asyncio.to_thread(process.wait, 60) == 0
    assert not path.exists()


async def test_the_end_does_not_wait_longer_than_it_may(tmp_path: Path) -> None:
    with started("--bind", f"unix://{tmp_path}/socket", "--drain-s", "0.2") as (process, _):
        transport = httpx.AsyncHTTPTransport(uds=f"{tmp_path}/socket")
        async with httpx.AsyncClient(base_url="http://a", transport=transport) as client:
            running = asyncio.ensure_future(client.post("/execute", json=ENDLESS, timeout=60))
            await arrived(client)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 60) == 0
            with pytest.raises(httpx.HTTPError):
                await running


async def test_the_service_needs_nothing_of_the_server() -> None:
    program = (
        "import sys, cap_sandbox.service\n"
        "unwanted = {'cap_server', 'fastapi', 'httpx', 'pydantic', 'uvicorn', 'typer', 'numpy'}\n"
        "sys.exit(str(unwanted & sys.modules.keys()) if unwanted & sys.modules.keys() else 0)"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0


async def test_an_address_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    with started("--bind", f"unix://{tmp_path}/no/folder") as (process, said):
        assert said.startswith("cap-sandbox:")
        assert await asyncio.to_thread(process.wait, 60) == 1
