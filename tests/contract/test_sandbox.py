"""What every `Sandbox` promises, the fake included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cap_sandbox import Pool
from cap_server.adapters.local_sandbox import LocalSandbox
from cap_server.domain import Execution, Limits
from cap_server.errors import SandboxUnavailableError
from cap_server.ports import Sandbox
from cap_server.testing import FakeSandbox

ENDLESS = "while True: pass"


@pytest.fixture(params=["fake", "local"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    if request.param == "fake":
        yield FakeSandbox(
            {"answer = 6 * 7": 42, "1 / 0": Execution("error"), ENDLESS: Execution("timeout")}
        )
        return
    async with Pool(workers=2) as pool:
        yield LocalSandbox(pool)


async def test_a_program_comes_to_its_answer(sandbox: Sandbox) -> None:
    execution = await sandbox.execute("answer = 6 * 7", limits=Limits())
    assert execution.status == "ok"
    assert execution.value is not None
    assert (execution.value.type, execution.value.text) == ("int", "42")


@pytest.mark.parametrize(("program", "status"), [("1 / 0", "error"), (ENDLESS, "timeout")])
async def test_what_a_program_does_wrong_is_an_execution(
    sandbox: Sandbox, program: str, status: str
) -> None:
    execution = await sandbox.execute(program, limits=Limits(wall_s=0.3))
    assert (execution.status, execution.value) == (status, None)


async def test_programs_run_at_once_and_wait_their_turn(sandbox: Sandbox) -> None:
    runs = [sandbox.execute("answer = 6 * 7", limits=Limits()) for _ in range(16)]
    assert {execution.status for execution in await asyncio.gather(*runs)} == {"ok"}


async def test_a_run_can_be_cancelled_and_the_next_one_works(sandbox: Sandbox) -> None:
    running = asyncio.ensure_future(sandbox.execute(ENDLESS, limits=Limits(wall_s=30)))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await sandbox.execute("answer = 6 * 7", limits=Limits())).status == "ok"


async def test_check_names_the_tier(sandbox: Sandbox) -> None:
    assert await sandbox.check()


async def test_a_sandbox_that_is_gone_is_an_error_of_ours() -> None:
    async with Pool(workers=1) as pool:
        gone = LocalSandbox(pool)
    for sandbox in (gone, FakeSandbox({}, failure=SandboxUnavailableError("gone"))):
        with pytest.raises(SandboxUnavailableError):
            await sandbox.execute("answer = 1", limits=Limits())
        with pytest.raises(SandboxUnavailableError):
            await sandbox.check()
