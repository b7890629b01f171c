"""Where it happens: two servers behind nginx, their upstream, and the way between them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.chaos.network import Link, Proxy, link
from tests.chaos.recorded import MODEL
from tests.ports import free_port
from tests.processes import children, descendants
from tests.servers import Serving, launched, wait_for

_ROOT = Path(__file__).parents[2]
_PORT = 15_901
"""Of the upstream within its own namespace."""


@dataclass
class Replica:
    """A server that can be killed and started again at the same port."""

    folder: Path
    model_url: str
    variables: dict[str, str]
    serving: Serving | None = None

    @property
    def running(self) -> Serving:
        assert self.serving is not None
        return self.serving

    @property
    def pid(self) -> int:
        return self.running.process.pid

    async def start(self, **more: str) -> None:
        """Return once it listens."""
        self.serving = launched(self.folder, self.model_url, **self.variables, **more)
        await asyncio.to_thread(wait_for, self.serving)

    async def end(self, number: signal.Signals) -> int:
        """Send it a signal that ends it; its exit status."""
        self.running.started = descendants(self.pid)
        self.running.process.send_signal(number)
        return await asyncio.to_thread(self.running.process.wait, 60)

    def kill(self) -> None:
        _kill(self.running.process)

    def warm(self) -> list[int]:
        """Its sandbox's warm processes."""
        return sorted(each for each in children(self.pid) if _is_warm(each))

    def spares(self) -> list[int]:
        return sorted(each for warm in self.warm() for each in children(warm))


@dataclass
class Place:
    """Attributes: cannot: the faults that this machine does not allow, and why."""

    url: str
    folder: Path
    replicas: tuple[Replica, ...]
    proxy: Proxy
    link: Link
    upstream: subprocess.Popen[bytes]
    cannot: dict[str, str] = field(default_factory=dict)

    def start_upstream(self) -> None:
        self.upstream = _upstream(self.link, self.proxy.target)


@asynccontextmanager
async def place(folder: Path, *, servers: int = 2) -> AsyncIterator[Place]:
    """Everything up and ready; at its end nothing is left."""
    async with AsyncExitStack() as stack:
        way, why = stack.enter_context(link())
        target = (way.host, _PORT if way.namespace else free_port())
        proxy = await stack.enter_async_context(Proxy(target).running())
        found = Place("", folder, (), proxy, way, _upstream(way, target))
        stack.callback(lambda: _kill(found.upstream))
        if why:
            found.cannot["packets dropped"] = why
        disk = stack.enter_context(small_disk(folder / "disk", found.cannot))
        shared = {
            "CAP_MODEL": MODEL,
            "CAP_DATABASE_URL": f"sqlite:///{disk}/trust.db",
            "CAP_SANDBOX_MEMORY_BYTES": str(1024**3),
            "CAP_DRAIN_S": "30",
        }
        found.replicas = tuple(
            _replica(disk / str(each), f"http://127.0.0.1:{proxy.port}/v1", shared)
            for each in range(servers)
        )
        for replica in found.replicas:
            stack.callback(replica.kill)
            await replica.start()
        ports = [replica.variables["CAP_PORT"] for replica in found.replicas]
        found.url = await stack.enter_async_context(_entrance(folder, ports, found.cannot))
        yield found


def _replica(folder: Path, model_url: str, shared: Mapping[str, str]) -> Replica:
    folder.mkdir(parents=True, exist_ok=True)
    return Replica(folder, model_url, {**shared, "CAP_PORT": str(free_port())})


@contextmanager
def small_disk(at: Path, cannot: dict[str, str]) -> Iterator[Path]:
    """A disk of 48 MiB where root may mount one; else a folder, and no disk is filled."""
    at.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "chaos", str(at)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        cannot["disk full"] = "a small disk cannot be mounted here: needs root"
    try:
        yield at
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "-l", str(at)], check=False, capture_output=True)


@asynccontextmanager
async def _entrance(folder: Path, ports: list[str], cannot: dict[str, str]) -> AsyncIterator[str]:
    """The URL for clients: nginx with the shipped configuration, or the one server itself."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None or len(ports) < 2:
        for fault in ("server killed", "server ended"):
            cannot[fault] = "no nginx here to try the other server"
        yield f"http://127.0.0.1:{ports[0]}"
        return
    port = str(free_port())
    shipped = (_ROOT / "deploy/proxy/nginx.conf").read_text("utf-8")
    for there, here in (("8000", ports[0]), ("8010", ports[1]), ("8080", port)):
        shipped = shipped.replace(f"127.0.0.1:{there}", f"127.0.0.1:{here}")
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\nevents {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body;\n"
        f"proxy_temp_path {folder}/proxy;\n{shipped}}}\n"
    )
    argv = [found, "-p", str(folder), "-c", str(configuration)]
    process = await asyncio.create_subprocess_exec(*argv, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        await until_it_answers(f"{url}/health")
        yield url
    finally:
        process.terminate()
        await process.wait()


async def until_it_answers(url: str) -> None:
    async with asyncio.timeout(90), httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                if (await client.get(url)).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


def _upstream(way: Link, target: tuple[str, int]) -> subprocess.Popen[bytes]:
    command = [*way.inside, sys.executable, "-m", "tests.chaos.recorded"]
    return subprocess.Popen([*command, target[0], str(target[1])], cwd=_ROOT)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _is_warm(pid: int) -> bool:
    try:
        return b"cap_sandbox.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
