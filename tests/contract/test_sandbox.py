"""What every `Sandbox` promises, the fake included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cap_sandbox import Pool
from cap_sandbox.service import Service
from cap_server.adapters.local_sandbox import LocalSandbox
from cap_server.adapters.remote_sandbox import RemoteSandbox, sandbox_client
from cap_server.domain import Execution, Limits
from cap_server.errors import SandboxUnavailableError
from cap_server.ports import Sandbox
from cap_server.testing import FakeSandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDLESS = "while True: pass"
LONG = Limits(wall_s=20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    async with Pool(workers=2) as started:
        yield started


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["fake", "local", "tcp", "unix"]
)
async def sandbox(
    request: pytest.FixtureRequest, pool: Pool, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Sandbox]:
    if request.param == "fake":
        yield FakeSandbox(
            {"answer = 6 * 7": 42, "1 / 0": Execution("error"), ENDLESS: Execution("timeout")}
        )
    elif request.param == "local":
        yield LocalSandbox(pool)
    else:
        socket = f"unix://{tmp_path_factory.mktemp('sandbox')}/socket"
        bind = "127.0.0.1:0" if request.param == "tcp" else socket
        async with (
            Service(pool).listening(bind) as url,
            sandbox_client(url, connections=8) as client,
        ):
            yield RemoteSandbox(client)


async def test_a_program_comes_to_its_answer(sandbox: Sandbox) -> None:
    execution = await sandbox.execute("answer = 6 * 7", limits=LONG)
    assert execution.status == "ok"
    assert execution.value is not None
    assert (execution.value.type, execution.value.text) == ("int", "42")


@pytest.mark.parametrize(("program", "status"), [("1 / 0", "error"), (ENDLESS, "timeout")])
async def test_what_a_program_does_wrong_is_an_execution(
    sandbox: Sandbox, program: str, status: str
) -> None:
    limits = Limits(wall_s=0.3 if program == ENDLESS else 20)
    execution = await sandbox.execute(program, limits=limits)
    assert (execution.status, execution.value) == (status, None)


async def test_programs_run_at_once_and_wait_their_turn(sandbox: Sandbox) -> None:
    runs = [sandbox.execute("answer = 6 * 7", limits=LONG) for _ in range(16)]
    assert {execution.status for execution in await asyncio.gather(*runs)} == {"ok"}


@pytest.mark.parametrize("after_s", [0, 0.3])
async def test_a_run_can_be_cancelled_and_the_next_one_works(
    sandbox: Sandbox, after_s: float
) -> None:
    running = [
        asyncio.ensure_future(sandbox.execute(ENDLESS, limits=Limits(wall_s=60))) for _ in range(4)
    ]
    await asyncio.sleep(after_s)
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    async with asyncio.timeout(20):
        assert (await sandbox.execute("answer = 6 * 7", limits=LONG)).status == "ok"


async def test_check_names_the_tier(sandbox: Sandbox) -> None:
    assert await sandbox.check()


async def test_what_a_sandbox_says_of_a_program_is_the_same_near_and_far(
    pool: Pool, tmp_path: Path
) -> None:
    near = LocalSandbox(pool)
    async with (
        Service(pool).listening(f"unix://{tmp_path}/socket") as url,
        sandbox_client(url, connections=2) as client,
    ):
        far = RemoteSandbox(client)
        for program in PROGRAMS:
            here, there = [await each.execute(program, limits=LONG) for each in (near, far)]
            assert (here.status, here.value) == (there.status, there.value)
            assert (here.stdout, here.stderr) == (there.stdout, there.stderr)


PROGRAMS = [
    "answer = 10**5000",
    "answer = [1, (2.5, None), {'a': {3}}]",
    "from sympy import *\nanswer = sqrt(2) + Symbol('x')",
    "from fractions import Fraction\nanswer = {Fraction(1, 3): 2j}",
    "print('水', '\\ud800', '\\x00')",
    "answer = float('nan')",
    "import os",
    "1 / 0",
    "answer = [0] * 10**9",
    "x = '\ud800'",
    "def f(:",
    "",
]


async def test_a_sandbox_that_is_gone_is_an_error_of_ours(tmp_path: Path) -> None:
    async with Pool(workers=1) as pool:
        gone = LocalSandbox(pool)
        async with Service(pool).listening(f"unix://{tmp_path}/socket") as url:
            pass
    async with sandbox_client(url, connections=2) as client:
        far = RemoteSandbox(client)
        for sandbox in (gone, far, FakeSandbox({}, failure=SandboxUnavailableError("gone"))):
            with pytest.raises(SandboxUnavailableError):
                await sandbox.execute("answer = 1", limits=Limits())
            with pytest.raises(SandboxUnavailableError):
                await sandbox.check()


async def test_limits_that_no_program_can_have_are_a_mistake_of_the_caller(pool: Pool) -> None:
    async with sandbox_client("http://127.0.0.1:1", connections=1) as client:
        for sandbox in (LocalSandbox(pool), RemoteSandbox(client)):
            with pytest.raises(ValueError, match="wall_s must be"):
                await sandbox.execute("answer = 1", limits=Limits(wall_s=1e9))
