"""`cap serve` as a process of its own, as an operator runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.ports import free_port
from tests.processes import descendants

CAP = str(Path(sys.prefix) / "bin" / "cap")


@dataclass
class Serving:
    """Attributes: started: every process that it had started once it listened."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    started: set[int]

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")


@contextmanager
def serving(folder: Path, model_url: str, **variables: str) -> Iterator[Serving]:
    """A server that listens, killed at the end if it still runs.

    Args:
        folder: for its database and its log.
        model_url: of the upstream.
        variables: settings besides, as they stand in the environment.
    """
    server = launched(folder, model_url, **variables)
    try:
        wait_for(server)
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def launched(folder: Path, model_url: str, **variables: str) -> Serving:
    """A server that was just started; `wait_for` it."""
    port, log = variables.get("CAP_PORT") or str(free_port()), folder / "server.log"
    settings = {
        "CAP_PORT": port,
        "CAP_MODEL_URL": model_url,
        "CAP_STATE_DIR": str(folder),
        "CAP_SANDBOX_WORKERS": "1",
        "CAP_MODEL_RELIABILITY": "0.95",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [CAP, "serve"], stdout=output, stderr=output, env=os.environ | settings | variables
        )
    return Serving(process, f"http://127.0.0.1:{port}", log, set())


def wait_for(server: Serving, *, within_s: float = 110) -> None:
    """Return once it listens."""
    deadline = time.monotonic() + within_s
    while not is_up(f"{server.url}/health"):
        assert server.process.poll() is None, server.said()
        assert time.monotonic() < deadline, server.said()
        time.sleep(0.1)
    server.started = descendants(server.process.pid)


def is_up(url: str) -> bool:
    """Whether there is a 200."""
    try:
        return httpx.get(url, timeout=20, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
