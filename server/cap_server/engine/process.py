"""The running engine: a guarded child process and the HTTP questions that say it is ready."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import httpx

from cap_server.engine import guard, journal
from cap_server.engine.launch import EngineError, EngineOptions, command, environment, preflight

_POLL_S = 0.25
# The kernel, not this program, is to blame when a guard outlives its grace by this much.
_GUARD_SLACK_S = 10.0


class Engine:
    """One vLLM, from its start to the end of its last process.

    Args:
        options: how to start it.
        grace_s: how long it may take to stop when asked, before it is killed.
    """

    def __init__(self, options: EngineOptions, *, grace_s: float = 5.0) -> None:
        self._options = options
        self._grace_s = grace_s
        self._process: asyncio.subprocess.Process | None = None

    @property
    def base_url(self) -> str:
        """Where the OpenAI API is, with `/v1`."""
        return f"{self._root}/v1"

    async def __aenter__(self) -> Self:
        """Starts the process; see `ready` for when it answers.

        Raises:
            EngineError: something it needs is missing.
        """
        preflight(self._options)
        argv = [sys.executable, "-I", guard.__file__, str(os.getpid()), str(self._grace_s)]
        with _emptied(self._options.log) as log:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                *command(self._options),
                env=environment(self._options, inherited=os.environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal is for us: we stop the engine, in order.
                start_new_session=True,
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Returns when no process of the engine is left."""
        process = self._running
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self._grace_s + _GUARD_SLACK_S):
                await process.wait()
        finally:
            # The guard has seen to this, unless someone killed the guard.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    async def ready(self, *, timeout_s: float, progress: Callable[[str], None]) -> None:
        """Returns when the engine has answered a completion.

        Args:
            timeout_s: for loading and warming up together.
            progress: called with what is waited for, each time that changes.

        Raises:
            EngineError: the engine died, answered wrongly, or needs longer.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._unless_it_dies(self._started(progress))
                # vLLM compiles its sampler at the first request that asks for
                # log-probabilities: 15 to 30 s that no user should wait.
                progress("warming up: the first request compiles")
                await self._unless_it_dies(self._warm_up())
        except TimeoutError:
            raise self._error(f"The engine was not ready after {timeout_s:g} s.") from None

    async def wait(self) -> int:
        """Returns the exit status when the engine ends; 128 and its number after a signal."""
        return await self._running.wait()

    def died(self) -> EngineError:
        """The error that tells an operator how the engine ended, once `wait` has returned."""
        status = self._running.returncode
        how = "is still running" if status is None else f"died ({_told(status)})"
        return self._error(f"The engine {how}.")

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the engine is started by `async with`")
        return self._process

    @property
    def _root(self) -> str:
        host = self._options.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._options.port}"

    async def _started(self, progress: Callable[[str], None]) -> None:
        shown = ""
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while not await _healthy(client, f"{self._root}/health"):
                stage = journal.stage(self._options.log)
                if stage != shown:
                    progress(shown := stage)
                await asyncio.sleep(_POLL_S)

    async def _warm_up(self) -> None:
        body = {"model": self._options.served_name, "prompt": "1", "max_tokens": 2, "logprobs": 1}
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=None) as client:
                answer = await client.post(f"{self.base_url}/completions", json=body)
        except httpx.HTTPError as error:
            raise self._error(f"The engine broke off its first answer ({error}).") from error
        if answer.status_code != httpx.codes.OK:
            said = f"{answer.status_code}: {answer.text[:300]}"
            raise self._error(f"The engine answered its first request with {said}")

    async def _unless_it_dies(self, work: Coroutine[None, None, None]) -> None:
        tasks = asyncio.create_task(work), asyncio.create_task(self.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[1].done():
                raise self.died()
            tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _error(self, what: str) -> EngineError:
        return EngineError(f"{what}\n{journal.excerpt(self._options.log)}")


@contextlib.contextmanager
def _emptied(log: Path) -> Iterator[BinaryIO]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        yield file


async def _healthy(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _told(status: int) -> str:
    if status <= 128:
        return f"exit status {status}"
    killed = " by the kernel or an operator; is there enough memory?"
    name = signal.Signals(status - 128).name
    return f"{name}{killed if status == 128 + signal.SIGKILL else ''}"
