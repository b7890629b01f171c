"""A single-use process, from inside: shut the jail, warm up, run one program, report, end."""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
from typing import NoReturn, TypedDict, cast

from cap_sandbox import preload
from cap_sandbox.jail import LINK, Jail
from cap_sandbox.program import Runner
from cap_sandbox.protocol import (
    MAX_PROGRAM_BYTES,
    READY,
    FrameDecoder,
    Report,
    Spent,
    encode_report,
    pack,
)

_CHUNK = 64 * 1024
_PATIENCE_MS = 2
# JSON writes one byte of a program as at most six.
_MAX_REQUEST = 6 * MAX_PROGRAM_BYTES + 1024


class _Request(TypedDict):
    program: str
    wall_s: float
    memory_bytes: int
    output_bytes: int


def live(fd: int, jail: Jail, runner: Runner) -> NoReturn:
    """Be a child whose one link to the world is the socket `fd`. Never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        jail.close(fd)
        _warm_up(runner)
        request = _receive()
        before = _spent()
        jail.limit(request["memory_bytes"], request["wall_s"])
        gc.enable()
        report = runner.run(
            request["program"],
            output_bytes=request["output_bytes"],
            on_memory_error=jail.open_reserve,
        )
        _answer(report, before)
        code = 0
    finally:
        # Whatever happened, a child never goes back into the zygote's loop.
        os._exit(code)


def _warm_up(runner: Runner) -> None:
    """Touch what programs use, so that they need not wait for the kernel to copy its pages.

    Copying them is most of what a short program would cost. The little that every program needs
    comes before the child says that it is ready; the rest only while nothing waits for it.
    """
    runner.run(preload.FIRST_PROGRAM, output_bytes=64, on_memory_error=lambda: None)
    os.write(LINK, READY)
    waiting = select.poll()
    waiting.register(LINK, select.POLLIN)
    # Under load the program comes at once, and finds this process idle.
    patience_ms = _PATIENCE_MS
    for program in preload.FURTHER_PROGRAMS:
        if waiting.poll(patience_ms):
            return
        patience_ms = 0
        report = runner.run(program, output_bytes=64, on_memory_error=lambda: None)
        pack(encode_report(report, _spent()))


def _receive() -> _Request:
    decoder = FrameDecoder(_MAX_REQUEST)
    while not decoder.complete:
        data = os.read(LINK, _CHUNK)
        if not data:
            # The pool has no use for this process any more.
            os._exit(0)
        decoder.feed(data)
    return cast("_Request", json.loads(decoder.body()))


def _answer(report: Report, before: Spent) -> None:
    after = _spent()
    spent = Spent(after.cpu_s - before.cpu_s, after.peak_memory_bytes)
    view = memoryview(pack(encode_report(report, spent)))
    while view:
        view = view[os.write(LINK, view) :]
    # The parent goes on at the end of the stream; taking this process apart takes the kernel
    # longer than most programs run.
    os.close(LINK)


def _spent() -> Spent:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Spent(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
