"""A single-use process, from inside: shut the jail, warm up, run one program, report, end."""

from __future__ import annotations

import gc
import os
import resource
import select
import signal
from collections.abc import Sequence
from typing import NoReturn

from cap_sandbox import pages
from cap_sandbox.jail import LINK, Jail
from cap_sandbox.pages import Run
from cap_sandbox.program import Runner
from cap_sandbox.protocol import (
    READY,
    Limits,
    Report,
    Spent,
    encode_report,
    pack,
)
from cap_sandbox.request import unpack_request

_CHUNK = 64 * 1024
_PATIENCE_MS = 2
# Runs of pages that are copied at a time: a tenth of a millisecond.
_PIECE = 32


def live(fd: int, jail: Jail, runner: Runner, written: Sequence[Run]) -> NoReturn:
    """Be a child whose one link to the world is the socket `fd`. Never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        jail.close(fd)
        os.write(LINK, READY)
        _prepare(written)
        program, limits = _receive()
        before = _spent()
        jail.limit(limits.memory_bytes, limits.wall_s)
        gc.enable()
        report = runner.run(
            program, output_bytes=limits.output_bytes, on_memory_error=jail.open_reserve
        )
        _answer(report, before)
        code = 0
    finally:
        # Whatever happened, a child never goes back into the zygote's loop.
        os._exit(code)


def _prepare(written: Sequence[Run]) -> None:
    """While no program has come, have the kernel copy the pages that it will write to."""
    waiting = select.poll()
    waiting.register(LINK, select.POLLIN)
    # Under load a program comes at once, and needs a part of them only.
    patience_ms = _PATIENCE_MS
    for first in range(0, len(written), _PIECE):
        if waiting.poll(patience_ms):
            return
        patience_ms = 0
        pages.copy(written[first : first + _PIECE])


def _receive() -> tuple[str, Limits]:
    data = b""
    while (request := unpack_request(data)) is None:
        more = os.read(LINK, _CHUNK)
        if not more:
            # The pool has no use for this process any more.
            os._exit(0)
        data += more
    return request


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
