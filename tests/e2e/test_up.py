"""`cap up` as an operator runs it: the real vLLM, the real sandbox, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cap_server.example import EXAMPLE
from cap_server.settings import Settings
from tests.ports import free_port
from tests.processes import alive, descendants

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not Settings().engine_python.exists(), reason="no vLLM: `make setup` installs it"
    ),
]

CAP = str(Path(sys.prefix) / "bin" / "cap")


@dataclass
class Running:
    process: subprocess.Popen[str]
    output: Path
    processes: set[int]

    def said(self) -> str:
        return self.output.read_text("utf-8")


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """`cap up` once it is ready, with every process that it has started by then."""
    output = folder / "output"
    arguments = ["up", "--port", str(free_port()), "--engine-port", str(free_port())]
    with output.open("wb") as log:
        process = subprocess.Popen(
            [CAP, *arguments],
            stdout=log,
            stderr=log,
            env=os.environ | {"CAP_STATE_DIR": str(_state_dir(folder))},
            text=True,
        )
    up = Running(process, output, set())
    try:
        _until(lambda: "Ctrl-C stops it" in up.said() or process.poll() is not None, within_s=300)
        assert process.poll() is None, up.said()
        up.processes = descendants(process.pid)
        yield up
    finally:
        process.kill()
        process.wait()


def test_the_printed_request_corrects_the_answer_and_ctrl_c_leaves_no_process(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as up:
        waited_for = up.said()
        assert "importing vLLM" in waited_for
        assert "warming up" in waited_for
        command = re.search(r"^curl .*?^}'$", up.said(), re.DOTALL | re.MULTILINE)
        assert command is not None
        refinement = json.loads(_output_of(["bash", "-c", command[0]]))
        assert (refinement["decision"], refinement["answer"]) == ("corrected", EXAMPLE.answer)
        rerun = f"{refinement['program']}\nprint(answer)"
        assert _output_of([sys.executable, "-I", "-c", rerun]).strip() == EXAMPLE.answer
        assert len(up.processes) >= 3
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(timeout=120) == 0
        assert alive(up.processes, within_s=60) == set()
        assert "Traceback" not in up.said()


def test_the_engines_death_ends_the_server_and_names_the_log(tmp_path: Path) -> None:
    with running(tmp_path) as up:
        os.kill(_engine_of(up), signal.SIGKILL)
        assert up.process.wait(timeout=120) == 1
        assert alive(up.processes, within_s=60) == set()
        said = " ".join(up.said().split())
        assert "The engine died" in said
        assert "engine-" in said
        assert "Traceback" not in said


def test_a_killed_cap_up_takes_everything_with_it(tmp_path: Path) -> None:
    with running(tmp_path) as up:
        up.process.kill()
        up.process.wait()
        assert alive(up.processes, within_s=60) == set()


@pytest.mark.parametrize("taken", ["--port", "--engine-port"])
def test_a_taken_port_is_told_at_once(taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ports = {"--port": free_port(), "--engine-port": free_port()}
        ports[taken] = listener.getsockname()[1]
        arguments = [str(part) for pair in ports.items() for part in pair]
        told = subprocess.run([CAP, "up", *arguments], capture_output=True, text=True, timeout=60)
    assert told.returncode == 1
    assert str(ports[taken]) in told.stderr
    assert "Traceback" not in told.stderr


def test_a_model_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    told = subprocess.run(
        [CAP, "up", "--model", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 1
    assert "config.json" in told.stderr


def _state_dir(folder: Path) -> Path:
    """A log of this test's own, beside the compile cache that all of them share."""
    cache = Settings().state_dir / "engine-cache"
    cache.mkdir(parents=True, exist_ok=True)
    (folder / "engine-cache").symlink_to(cache)
    return folder


def _output_of(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _engine_of(up: Running) -> int:
    """The process of vLLM's API server, which `cap up` did not start itself but through a guard."""
    for pid in up.processes:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"vllm.entrypoints.openai.api_server" in command and b"-m" in command[:4]:
            return pid
    raise AssertionError(up.said())


def _until(condition: Callable[[], object], *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
