"""The servers that `peers.py` compares, each a process; the peers in environments of their own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers_load import Ask, ask

HERE = Path(__file__).parent
QUESTION = "Natalia sold 12 clips a day for 2 days, and 6 came back. How many are sold?"
WRONG_COT = "She sold 12 * 2 = 24 clips, and 6 more: 24 + 6 = 30. The answer is 30."
_LONGEST_START_S = 180.0

Body = dict[str, Any]


@dataclass(frozen=True)
class Contestant:
    """Attributes:
    package: what pip installs for it; None for what is here.
    command: given the folder of its environment's programs, its port and the upstream's URL.
    passes, votes: the requests for one plain answer and for the most common one of 8 samples.
    refines, greets: what it alone does; None where nobody else does the like.
    configure: sent once it listens, where it needs that.
    """

    name: str
    package: str | None
    command: Callable[[Path, int, str], list[str]]
    passes: Ask
    votes: Ask | None
    environment: Callable[[int, str], Mapping[str, str]] = lambda port, url: {}
    greets: Ask | None = None
    refines: Ask | None = None
    deadline: Ask | None = None
    configure: Callable[[str], Ask] | None = None


@dataclass(frozen=True)
class Running:
    contestant: Contestant
    port: int
    pid: int

    def resident_mib(self) -> float:
        """Of the server's own process; those of programs are the sandbox's."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        return int(kib) / 1024

    def cpu_s(self) -> float:
        """That its own process has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _chat(model: str, text: str = QUESTION, **more: object) -> Ask:
    messages = [{"role": "user", "content": text}]
    return Ask("/v1/chat/completions", {"model": model, "messages": messages, **more})


def _refine(strategy: Body | str, **more: object) -> Ask:
    body = {"question": QUESTION, "cot": WRONG_COT, "strategy": strategy, **more}
    return Ask("/v1/refine", body)


def _cap_environment(port: int, url: str) -> Mapping[str, str]:
    return {"CAP_MODEL_URL": url, "CAP_MODEL": "cap", "CAP_COT_MODEL": "writer"}


UPSTREAM = Contestant(
    "the upstream itself", None, lambda bin_, port, url: [], _chat("writer"), None
)
CAP = Contestant(
    "CaP server",
    None,
    lambda bin_, port, url: [str(bin_ / "cap"), "serve", "--port", str(port)],
    _chat("writer"),
    _refine({"name": "majority", "programs": 8}),
    _cap_environment,
    greets=_chat("cap", "Say hello to me."),
    refines=_refine("single"),
    deadline=_refine({"name": "majority", "programs": 8}, budget={"deadline_s": 2}),
)
OPTILLM = Contestant(
    "optillm 0.4.0",
    "optillm",
    lambda bin_, port, url: [str(bin_ / "optillm"), "--port", str(port), "--base-url", url],
    _chat("none-writer"),  # with `optillm_approach` in the body it fails
    _chat("self_consistency-writer"),  # 5 samples: it takes no number
    lambda port, url: {"OPENAI_API_KEY": "none", "HF_HUB_OFFLINE": "1"},
)
ITS_HUB = Contestant(
    "its_hub 1.2.0",
    "its_hub",
    lambda bin_, port, url: [str(bin_ / "its-iaas"), "--port", str(port)],
    _chat("writer", budget=1),
    _chat("writer", budget=8),
    configure=lambda url: Ask(
        "/configure",
        {
            "endpoint": url,
            "model": "writer",
            "api_key": "none",
            "alg": "self-consistency",
            "regex_patterns": [r"The answer is (\d+)"],
        },
    ),
)
CONTESTANTS = (CAP, OPTILLM, ITS_HUB)


def programs_of(contestant: Contestant, state: Path) -> Path:
    """The folder of its programs, in an environment that is made where it is missing."""
    if contestant.package is None:
        return Path(sys.executable).parent
    folder = state / contestant.package
    bin_, pins = folder / "bin", HERE / "pins" / f"{contestant.package}.txt"
    mark = folder / "installed.txt"
    if not mark.exists() or mark.read_text() != pins.read_text():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(bin_ / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--requirement", str(pins)], check=True)
        mark.write_text(pins.read_text())
    return bin_


@asynccontextmanager
async def upstream(*, delay_s: float) -> AsyncIterator[Running]:
    port = _free_port()
    script = str(HERE / "peers_upstream.py")
    command = [sys.executable, script, "--port", str(port), "--delay", str(delay_s)]
    async with _process(command, {}, log=Path(os.devnull)) as process:
        await _listens(process, Ask("/seen"), port)
        yield Running(UPSTREAM, port, process.pid)


@asynccontextmanager
async def running(contestant: Contestant, *, of: Running, state: Path) -> AsyncIterator[Running]:
    """`contestant` as a process that listens, with `of` as its model's server."""
    port, url = _free_port(), f"http://127.0.0.1:{of.port}/v1"
    command = contestant.command(programs_of(contestant, state), port, url)
    log = state / f"{contestant.name.replace(' ', '_')}.log"
    environment = {"CAP_STATE_DIR": str(state), **contestant.environment(port, url)}
    async with _process(command, environment, log=log) as process:
        await _listens(process, Ask("/health"), port)
        if contestant.configure is not None:
            got = await ask(port, contestant.configure(url))
            assert got.status == 200, got.content
        yield Running(contestant, port, process.pid)


async def seen(of: Running) -> dict[str, int]:
    """What the upstream saw since it was last asked."""
    counts: dict[str, int] = json.loads((await ask(of.port, Ask("/seen"))).content)
    return counts


async def behave(of: Running, *, delay_s: float, status: int = 200) -> None:
    await ask(of.port, Ask("/behave", {"delay_s": delay_s, "status": status}))


@asynccontextmanager
async def _process(
    command: list[str], environment: Mapping[str, str], *, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CAP_", "OPTILLM_"))}
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *command, env={**inherited, **environment}, stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _listens(process: asyncio.subprocess.Process, question: Ask, port: int) -> None:
    async with asyncio.timeout(_LONGEST_START_S):
        while True:
            if process.returncode is not None:
                raise SystemExit(f"A server ended with status {process.returncode}: see its log.")
            try:
                await ask(port, question)
                return
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
