"""The sandbox in this process's own pool."""

from __future__ import annotations

from cap_sandbox import Execution, Figure, Limits, Pool, PoolError, QueueFullError
from cap_server.errors import SandboxUnavailableError
from cap_server.logs import request_id

_PROBE = "answer = 6 * 7"


class LocalSandbox:
    """Args: pool: started, and stopped by whoever started it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def figures(self) -> tuple[Figure, ...]:
        """The pool's, for metrics."""
        return self._pool.figures()

    async def execute(self, program: str, *, limits: Limits) -> Execution:
        try:
            return await self._pool.execute(program, limits=limits, client=request_id())
        except QueueFullError as error:
            raise SandboxUnavailableError(
                "Too many programs are waiting for the sandbox.", retry_after_s=1
            ) from error
        except PoolError as error:
            raise SandboxUnavailableError(
                "The sandbox cannot run programs now.", retry_after_s=5
            ) from error

    async def check(self) -> str:
        execution = await self.execute(_PROBE, limits=Limits())
        if execution.value is None or execution.value.text != "42":
            raise SandboxUnavailableError("The sandbox does not run a trivial program.")
        return self._pool.tier
