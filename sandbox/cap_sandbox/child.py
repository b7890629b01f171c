"""A single-use process, as its parent sees it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from cap_sandbox.protocol import (
    Execution,
    FrameDecoder,
    FrameError,
    Limits,
    Report,
    decode_report,
    max_report_bytes,
    pack,
)

_CHUNK = 256 * 1024
_READY = b"+"
# From a whole report to the end of the process; more means that it does not mean to end.
_END_GRACE_S = 2.0


class LostError(Exception):
    """The process was gone, or was never there, through no fault of the program."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended, by its wait status.

    Attributes:
        code: its exit code, or minus the signal that killed it; None if it never was.
    """

    code: int | None
    cpu_s: float
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class _Heard:
    """What came over the socket: a report, or why there is none."""

    report: Report | None = None
    timed_out: bool = False
    fault: str | None = None


class Child:
    """A single-use process that waits for its one program.

    Args:
        connection: the parent's end of the child's only descriptor.
        kill: has the zygote kill the process.
    """

    def __init__(self, connection: socket.socket, kill: Callable[[], None]) -> None:
        self._connection = connection
        self._kill = kill
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Ended] = self._loop.create_future()

    async def wait_ready(self) -> None:
        """Return when the process has shut itself in.

        Raises:
            LostError: it ended instead.
        """
        try:
            first = await self._loop.sock_recv(self._connection, 1)
        except OSError as error:
            raise LostError from error
        if first != _READY:
            raise LostError

    async def run(self, program: str, limits: Limits) -> Execution:
        """Run `program`, and see the process to its end.

        Raises:
            LostError: the process or its zygote was lost; nothing is known of the program.
        """
        started = self._loop.time()
        heard = await self._converse(program, limits)
        if heard.report is None:
            self._kill()
        ended = await self._end()
        return _execution(heard, ended, limits, self._loop.time() - started)

    def discard(self) -> None:
        """Kill the process, whatever it is doing, and let go of it."""
        if not self.ended.done():
            self._kill()
        self._connection.close()

    async def _converse(self, program: str, limits: Limits) -> _Heard:
        request = {
            "program": program,
            "wall_s": limits.wall_s,
            "memory_bytes": limits.memory_bytes,
            "output_bytes": limits.output_bytes,
        }
        try:
            async with asyncio.timeout(limits.wall_s):
                await self._loop.sock_sendall(self._connection, pack(request))
                body = await self._receive(limits)
        except TimeoutError:
            return _Heard(timed_out=True)
        except FrameError as error:
            return _Heard(fault=str(error))
        except OSError:
            return _Heard()
        return _heard(body, limits)

    async def _receive(self, limits: Limits) -> bytes | None:
        """Return the one frame's body, or None if the process ended before it sent a byte."""
        decoder = FrameDecoder(max_report_bytes(limits))
        begun = False
        while data := await self._loop.sock_recv(self._connection, _CHUNK):
            begun = True
            decoder.feed(data)
        return decoder.body() if begun else None

    async def _end(self) -> Ended:
        try:
            async with asyncio.timeout(_END_GRACE_S):
                return await asyncio.shield(self.ended)
        except TimeoutError:
            self._kill()
            return await self.ended


def _heard(body: bytes | None, limits: Limits) -> _Heard:
    if body is None:
        return _Heard()
    try:
        return _Heard(report=decode_report(body, limits))
    except FrameError as error:
        return _Heard(fault=str(error))


def _execution(heard: _Heard, ended: Ended, limits: Limits, wall_s: float) -> Execution:
    spent = (wall_s, ended.cpu_s, ended.peak_memory_bytes)
    if heard.timed_out or ended.code == -signal.SIGXCPU:
        text = f"stopped after {limits.wall_s:g} s"
        return Execution("timeout", None, "", text, *spent)
    if heard.fault is not None:
        text = f"the sandbox stopped the program: its process sent {heard.fault}"
        return Execution("killed", None, "", text, *spent)
    report = heard.report
    if report is not None and ended.code == 0:
        return Execution(report.status, report.value, report.stdout, report.stderr, *spent)
    return _silent_end(ended, limits, spent)


def _silent_end(ended: Ended, limits: Limits, spent: tuple[float, float, int]) -> Execution:
    """Judge a process that ended by itself without a report, by its wait status alone."""
    code = ended.code
    if code == -signal.SIGKILL and ended.peak_memory_bytes > limits.memory_bytes // 2:
        return Execution("memory", None, "", "the kernel ran out of memory for it", *spent)
    if code == -signal.SIGSYS:
        text = "the kernel stopped the program at a system call that programs may not make"
    elif code is not None and code < 0:
        text = f"the program's process died of {signal.Signals(-code).name}"
    else:
        text = "the program's process left without a report"
    return Execution("killed", None, "", text, *spent)
