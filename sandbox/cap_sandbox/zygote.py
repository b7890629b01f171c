"""The warm parent: everything imported once, then one child for each program.

Started as `python -m cap_sandbox.zygote FD KIND [LAYER …]` by the pool, which may name layers to
leave out. On the control socket FD the pool sends `{"fork": id}` with the child's own socket, or
`{"kill": id}`; the zygote answers `{"ready": …}` once, then `{"ended": id, …}` for every child. It
dies with the pool.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from cap_sandbox import handover, inmate, jail, preload
from cap_sandbox.forking import fork
from cap_sandbox.jail import Jail
from cap_sandbox.kinds import Kind
from cap_sandbox.pages import Run
from cap_sandbox.program import Runner

_MAX_MESSAGE = 4096


@dataclass
class _Zygote:
    """The loop of the warm parent."""

    control: socket.socket
    jail: Jail
    runner: Runner
    written: Sequence[Run]
    children: dict[int, int] = field(default_factory=dict)

    def serve(self) -> None:
        """Fork, kill and reap as told, until the pool is gone, or the namespace is."""
        waker, wakened = socket.socketpair()
        for end in (waker, wakened):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wakened.fileno(), warn_on_full_buffer=False)
        while True:
            readable, _, _ = select.select([self.control, waker], [], [])
            if waker in readable:
                waker.recv(_MAX_MESSAGE)
                if not self._reap():
                    return
            if self.control in readable and not self._obey():
                return

    def _obey(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.control, _MAX_MESSAGE, 1)
        if not data:
            return False
        message = json.loads(data)
        if "fork" in message:
            self._fork(message["fork"], fds[0])
        else:
            self._kill(message["kill"])
        return True

    def _fork(self, child: int, fd: int) -> None:
        try:
            pid = fork()
        except OSError:
            os.close(fd)
            self._tell({"ended": child, "code": None, "cpu_s": 0.0, "peak_memory_bytes": 0})
            return
        if pid == 0:
            inmate.live(fd, self.jail, self.runner, self.written)
        os.close(fd)
        self.children[pid] = child

    def _kill(self, child: int) -> None:
        for pid, known in self.children.items():
            if known == child:
                # Not reaped yet, so the number is still its own.
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> bool:
        """False: the namespace's first process has ended, and nothing can be forked any more."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if not pid:
                return True
            if pid not in self.children:
                return False
            ended = {
                "ended": self.children.pop(pid),
                "code": os.waitstatus_to_exitcode(status),
                "cpu_s": usage.ru_utime + usage.ru_stime,
                "peak_memory_bytes": usage.ru_maxrss * 1024,
            }
            self._tell(ended)

    def _tell(self, message: Mapping[str, object]) -> None:
        self.control.send(json.dumps(message).encode())


def main() -> None:
    jail.die_with_parent()
    control = socket.socket(fileno=int(sys.argv[1]))
    kind = cast("Kind", sys.argv[2])
    without = frozenset(sys.argv[3:])
    warnings.simplefilter("ignore")
    runner = preload.warm_runner(kind, policy="policy" not in without)
    written = preload.settle(runner, kind)
    os.environ.clear()
    cell = jail.enter(without)
    if kind == "light":
        handover.at_missing_modules()
    ready = {"tier": jail.tier(cell.layers), "layers": cell.layers}
    # The terminal was for what goes wrong until now; standard input is the null device.
    os.dup2(0, 2)
    control.send(json.dumps({"ready": ready}).encode())
    zygote = _Zygote(control, cell, runner, written)
    preload.freeze()
    zygote.serve()


if __name__ == "__main__":
    main()
