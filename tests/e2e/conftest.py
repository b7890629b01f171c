"""One real vLLM for all end-to-end tests: its start takes half a minute."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cap_server.app import create_app
from cap_server.engine import Engine, EngineOptions, runs_on_gpu
from cap_server.settings import Settings
from tests.e2e.live import live
from tests.ports import free_port
from tests.processes import alive, descendants

ROOT = Path(__file__).parents[2]
PYTHON = Settings().engine_python
MODEL = ROOT / "models" / "cap-small"


@pytest.fixture(scope="package")
def engine() -> Iterator[Engine]:
    """The small CaP model in vLLM, ready; once stopped, none of its processes may be left."""
    if not PYTHON.exists():
        pytest.skip(f"no vLLM at {PYTHON.parents[1]}: run `make setup`")
    options = EngineOptions(
        python=PYTHON,
        model=MODEL,
        served_name=MODEL.name,
        port=free_port(),
        log=ROOT / ".state" / "engine-tests.log",
        cache=ROOT / ".state" / "engine-cache",
        gpu=runs_on_gpu(PYTHON),
    )
    before = descendants(os.getpid())
    # A loop of its own, so that the tests may each have theirs.
    kept = AsyncExitStack()
    with asyncio.Runner() as runner:
        try:
            started = runner.run(_started(options, kept=kept))
            processes = descendants(os.getpid()) - before
            yield started
        finally:
            runner.run(kept.aclose())
    assert len(processes) >= 4, "the guard and vLLM's three"
    assert alive(processes) == set(), "vLLM left processes behind"


@pytest.fixture(scope="package")
def engine_url(engine: Engine) -> str:
    """The root of its API, with `/v1`."""
    return engine.base_url


@pytest.fixture(scope="package")
def url(engine_url: str) -> Iterator[str]:
    """The root of a server that really listens, in front of the real vLLM."""
    with live(create_app(Settings.model_validate({"model_url": engine_url}))) as url:
        yield url


async def _started(options: EngineOptions, *, kept: AsyncExitStack) -> Engine:
    engine = await kept.enter_async_context(Engine(options))
    await engine.ready(timeout_s=300, progress=lambda _what: None)
    return engine
