"""The sandbox, with a watch on how long programs wait there."""

from __future__ import annotations

import time
from collections.abc import Callable

from cap_server.domain import Execution, Limits
from cap_server.ports import Sandbox


class MeasuredSandbox:
    """Args: waited: told the seconds for which each program waited for its turn to run."""

    def __init__(self, sandbox: Sandbox, waited: Callable[[float], None]) -> None:
        self._sandbox = sandbox
        self._waited = waited

    async def execute(self, program: str, *, limits: Limits) -> Execution:
        began = time.perf_counter()
        execution = await self._sandbox.execute(program, limits=limits)
        self._waited(max(0.0, time.perf_counter() - began - execution.wall_s))
        return execution

    async def check(self) -> str:
        return await self._sandbox.check()
