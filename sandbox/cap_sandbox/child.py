"""A single-use process, as its parent sees it."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from cap_sandbox.protocol import (
    HANDED_OVER_BODY,
    NOTHING_SPENT,
    READY,
    Execution,
    FrameDecoder,
    FrameError,
    Limits,
    Report,
    Spent,
    Status,
    decode_report,
    max_report_bytes,
)
from cap_sandbox.request import pack_request

_CHUNK = 256 * 1024
# From the end of the stream to the end of the process; more means that it goes on without a link.
_SILENT_END_S = 0.5
# From a report to the end of the process; more means that there is more in it than its program.
_LINGER_S = 0.02
# From the order to kill to the zygote's word that it is done; more means that the zygote hangs.
_END_S = 10.0


class HandedOverError(Exception):
    """The program needs a heavy process, and has had no effect in this light one.

    Attributes:
        after_s: the time that it took to find out.
    """

    def __init__(self, after_s: float) -> None:
        super().__init__(after_s)
        self.after_s = after_s


class LostError(Exception):
    """The process was gone, or was never there, through no fault of the program."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended, by its wait status.

    Attributes:
        code: its exit code, or minus the signal that killed it; None if nobody knows.
    """

    code: int | None
    spent: Spent = NOTHING_SPENT


@dataclass(frozen=True, slots=True)
class _Heard:
    """What came over the socket: a report, or why there is none."""

    report: Report | None = None
    spent: Spent = NOTHING_SPENT
    timed_out: bool = False
    fault: str | None = None
    handed_over: bool = False

    @property
    def silent(self) -> bool:
        return self.report is None and self.fault is None and not self.timed_out


class Child:
    """A single-use process that waits for its one program.

    Args:
        connection: the parent's end of the child's only descriptor.
        kill: has the zygote kill the process.
        abandon: kills the zygote, and so the process, when the zygote itself does not answer.
        may_hand_over: whether there is another kind of process for its program.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        kill: Callable[[], None],
        abandon: Callable[[], None],
        may_hand_over: bool,
    ) -> None:
        self._may_hand_over = may_hand_over
        self._connection = connection
        self._kill = kill
        self._abandon = abandon
        self._loop = asyncio.get_running_loop()
        self._reported = False
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
        if first != READY:
            raise LostError

    async def run(self, program: str, limits: Limits, *, spent_s: float = 0.0) -> Execution:
        """Run `program`, and see the process to its end.

        Args:
            program: its text.
            limits: what it may use.
            spent_s: the part of `limits.wall_s` that it has used in another process.

        Raises:
            HandedOverError: the program has to be run by a heavy process.
            LostError: the process or its zygote was lost; nothing is known of the program.
        """
        started = self._loop.time() - spent_s
        heard = await self._converse(program, limits, limits.wall_s - spent_s)
        if heard.handed_over:
            raise HandedOverError(self._loop.time() - started)
        if heard.report is not None:
            # The stream has ended, and `discard` sees to it that the process does; taking it apart
            # takes the kernel longer than most programs run, so that is not waited for.
            self._reported = True
            return _reported(heard.report, heard.spent, limits, self._loop.time() - started)
        if not heard.silent or not await self._ends_by_itself():
            self._kill()
        ended = await self._end()
        if ended.code is None:
            raise LostError
        return _stopped(heard, ended, limits, self._loop.time() - started)

    def discard(self) -> None:
        """Let go of the process, and kill it unless it is known to have ended."""
        self._connection.close()
        if self._reported:
            # It is ending, and an order to kill would keep the zygote from better things.
            self._loop.call_later(_LINGER_S, self._end_it)
        else:
            self._end_it()

    def _end_it(self) -> None:
        if not self.lost:
            self._kill()

    async def _ends_by_itself(self) -> bool:
        """Whether a process whose stream has ended was ending; its wait status tells how then."""
        await asyncio.wait([self.ended], timeout=_SILENT_END_S)
        return self.lost

    async def _end(self) -> Ended:
        try:
            async with asyncio.timeout(_END_S):
                # The zygote sets this, whether or not anyone still waits for it.
                return await asyncio.shield(self.ended)
        except TimeoutError:
            self._abandon()
            raise LostError from None

    @property
    def lost(self) -> bool:
        """Whether the process is known to have ended."""
        return self.ended.done()

    async def _converse(self, program: str, limits: Limits, wall_s: float) -> _Heard:
        request = pack_request(program, limits, wall_s=wall_s)
        try:
            async with asyncio.timeout(wall_s):
                await self._loop.sock_sendall(self._connection, request)
                body = await self._receive(limits)
        except TimeoutError:
            return _Heard(timed_out=True)
        except FrameError as error:
            return _Heard(fault=str(error))
        except OSError:
            return _Heard()
        if self._may_hand_over and body == HANDED_OVER_BODY:
            return _Heard(handed_over=True)
        return _heard(body, limits)

    async def _receive(self, limits: Limits) -> bytes | None:
        """Return the one frame's body, or None if the process ended before it sent a byte."""
        decoder = FrameDecoder(max_report_bytes(limits))
        begun = False
        while data := await self._loop.sock_recv(self._connection, _CHUNK):
            begun = True
            decoder.feed(data)
        return decoder.body() if begun else None


def _heard(body: bytes | None, limits: Limits) -> _Heard:
    if body is None:
        return _Heard()
    try:
        return _Heard(*decode_report(body, limits))
    except FrameError as error:
        return _Heard(fault=str(error))


def _reported(report: Report, spent: Spent, limits: Limits, wall_s: float) -> Execution:
    return Execution(
        status=report.status,
        value=report.value,
        stdout=report.stdout,
        stderr=report.stderr,
        wall_s=wall_s,
        cpu_s=min(spent.cpu_s, wall_s),
        peak_memory_bytes=spent.peak_memory_bytes,
    )


def _stopped(heard: _Heard, ended: Ended, limits: Limits, wall_s: float) -> Execution:
    status, stderr = _judge(heard, ended, limits)
    return Execution(
        status=status,
        stderr=stderr,
        wall_s=wall_s,
        cpu_s=ended.spent.cpu_s,
        peak_memory_bytes=ended.spent.peak_memory_bytes,
    )


def _judge(heard: _Heard, ended: Ended, limits: Limits) -> tuple[Status, str]:
    """Say how a process ended that did not report, by the clock and by its wait status."""
    code = ended.code or 0
    if heard.timed_out or code == -signal.SIGXCPU:
        return "timeout", f"stopped after {limits.wall_s:g} s"
    if heard.fault is not None:
        return "killed", f"the sandbox stopped the program: its process sent {heard.fault}"
    if code == -signal.SIGKILL and ended.spent.peak_memory_bytes > limits.memory_bytes // 2:
        return "memory", "the machine ran out of memory for the program"
    if code == -signal.SIGSYS:
        return "killed", "the kernel stopped the program: it may not make that system call"
    if code < 0:
        return "killed", f"the program's process died of {signal.Signals(-code).name}"
    return "killed", "the program's process left without a report"
