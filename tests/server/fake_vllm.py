"""Stands in for vLLM, as a process: takes its arguments, listens, and misbehaves on request.

`test_engine.py` makes it the `python` of an engine's environment. `--behaviour` says what it does;
`--record` names a file for its own arguments, environment and processes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_SLEEP = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


class _Handler(BaseHTTPRequestHandler):
    refuses = False
    record = ""

    def do_GET(self) -> None:
        self._answer(200, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.record:
            _write(f"{self.record}.asked", [self.path, body])
        self._answer(404 if self.refuses else 200, {"error": "no such model"})

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--record", default="")
    parser.add_argument("--behaviour", default="serves")
    known, _ = parser.parse_known_args()
    breeds = known.behaviour in ("breeds", "stubborn")
    children = [_child(new_session=each) for each in (False, True) if breeds]
    if known.behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _wait(known, "starting")
    print("INFO Resolved architecture: FakeForCausalLM", flush=True)  # noqa: T201  its log
    if known.record:
        seen = {"argv": sys.argv, "env": dict(os.environ), "pids": [os.getpid(), *children]}
        _write(known.record, seen)
    if known.behaviour == "dies":
        raise ValueError("this model is too fake")
    if known.behaviour == "hangs":
        time.sleep(600)
    _wait(known, "serving")
    _Handler.refuses, _Handler.record = known.behaviour == "refuses", known.record
    ThreadingHTTPServer(("127.0.0.1", known.port), _Handler).serve_forever()


def _wait(known: argparse.Namespace, stage: str) -> None:
    """Wait until the test has seen the stage before, where it wants to see them all."""
    while known.behaviour == "waits" and not Path(f"{known.record}.{stage}").exists():
        time.sleep(0.02)


def _write(name: str, content: object) -> None:
    """Whoever sees the file sees all of it."""
    part = Path(f"{name}.part")
    part.write_text(json.dumps(content))
    part.rename(name)


def _child(*, new_session: bool) -> int:
    """A process that will not go by itself, like a worker that hangs."""
    return subprocess.Popen([sys.executable, "-c", _SLEEP], start_new_session=new_session).pid


if __name__ == "__main__":
    main()
