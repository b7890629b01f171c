"""The part with the real vLLM and the small model: it is paused, then killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

from cap_server.engine import Engine, EngineError, EngineOptions, runs_on_gpu
from cap_server.settings import Settings
from tests.chaos.faults import hold, send
from tests.chaos.load import Load, Tally, Terms
from tests.ports import free_port
from tests.processes import alive, descendants
from tests.servers import launched, wait_for

_ROOT = Path(__file__).parents[2]
_MODEL = _ROOT / "models" / "cap-small"
_NAMES = ("vLLM paused", "vLLM killed")
_TERMS = Terms(kinds=("baker",))
_ASKED_AGAIN_S = 15.0
"""More than the circuit's longest pause (docs/model.md)."""


async def run(folder: Path, *, for_s: float) -> tuple[dict[str, Tally], dict[str, str]]:
    """What became of the load, by fault; and why there was none."""
    if not Settings().engine_python.exists():
        return {}, dict.fromkeys(_NAMES, "no vLLM here: `make setup` installs it")
    options = _options(folder)
    server = launched(folder, f"http://127.0.0.1:{options.port}/v1", CAP_MODEL=options.served_name)
    try:
        await asyncio.to_thread(wait_for, server)
        load = Load(server.url, at_once=3, pause_s=0.3)
        async with AsyncExitStack() as stack:
            pids = await _started(options, stack)
            await load.send(10, _TERMS)
            async with load.running(_TERMS) as paused:
                for _ in range(2):
                    await asyncio.sleep(for_s / 4)
                    await hold(pids, for_s / 4)
            async with load.running(_TERMS) as killed:
                await asyncio.sleep(for_s / 4)
                send(pids, signal.SIGKILL)
                await stack.aclose()
                left = await asyncio.to_thread(alive, pids, within_s=30)
                killed.violated(*(f"process {each} of vLLM is left" for each in left))
                await _started(options, stack)
                await asyncio.sleep(for_s / 2)
            await _asked_again(load)
            after = await load.send(10, _TERMS)
            if not any(after.by[each] for each in ("confirmed", "corrected", "kept")):
                killed.violated(f"it did not recover: {dict(after.by)}")
    except EngineError as error:
        failed = Tally()
        failed.violated(str(error).splitlines()[0])
        return {"vLLM": failed}, {}
    finally:
        server.process.kill()
        server.process.wait()
    return {"vLLM paused": paused, "vLLM killed": killed}, {}


async def _asked_again(load: Load) -> None:
    """Return once the server asks vLLM again: while that fails, it is left alone for a moment."""
    ends = time.monotonic() + _ASKED_AGAIN_S
    while time.monotonic() < ends:
        if not (await load.send(1, _TERMS)).by["503"]:
            return


async def _started(options: EngineOptions, stack: AsyncExitStack) -> list[int]:
    """The engine's processes, once it is ready; `stack` ends it."""
    before = descendants(os.getpid())
    engine = await stack.enter_async_context(Engine(options))
    await engine.ready(timeout_s=300, progress=lambda _: None)
    return sorted(descendants(os.getpid()) - before)


def _options(folder: Path) -> EngineOptions:
    python = Settings().engine_python
    folder.mkdir()
    return EngineOptions(
        python=python,
        model=_MODEL,
        served_name=_MODEL.name,
        port=free_port(),
        log=folder / "engine.log",
        cache=_ROOT / ".state" / "engine-cache",
        gpu=runs_on_gpu(python),
    )
