"""Runs one command and sees that none of what it starts outlives it, however its end comes.

vLLM is three processes and can die at any point of its start, so the promise "nothing is left
behind" cannot rest on its good will. This script, run by path and needing the standard library
only, stands between: it is told by the kernel when its own parent dies, and every orphan below
it becomes its child.

    python guard.py PARENT_PID GRACE_S COMMAND [ARGUMENT ...]
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)
_AWAITED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
# What vLLM leaves when it ends well is gone within half a second: the resource tracker, which
# removes its shared memory, must not be killed before it has.
_LINGER_S = 1.0


def main(parent: int, grace_s: float, command: list[str]) -> int:
    """Returns the command's exit status, or 128 and the signal's number that ended it."""
    # Blocked, signals wait in line for `sigtimedwait`: none can interrupt the clearing up.
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel knew to tell
        return 128 + signal.SIGTERM
    with tempfile.TemporaryDirectory(prefix="cap-engine-", ignore_cleanup_errors=True) as folder:
        try:
            status = _run(command, temporary=folder, grace_s=grace_s)
        finally:
            _clear()
    return status if status >= 0 else 128 - status


def _run(command: list[str], *, temporary: str, grace_s: float) -> int:
    child = subprocess.Popen(
        command,
        env=os.environ | {"TMPDIR": temporary},
        preexec_fn=_prepare_child,  # safe: this process has one thread
    )
    while child.poll() is None:
        news = signal.sigtimedwait(_AWAITED, 1.0)
        if news is not None and news.si_signo != signal.SIGCHLD:
            return _stop(child, grace_s)
    return child.returncode


def _prepare_child() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(child: subprocess.Popen[bytes], grace_s: float) -> int:
    child.terminate()
    try:
        return child.wait(grace_s)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _clear() -> None:
    """Returns when this process has no descendant: orphans get a moment, then SIGKILL."""
    deadline = time.monotonic() + _LINGER_S
    while True:
        if time.monotonic() > deadline:
            _kill_children()
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)
        except ChildProcessError:
            return


def _kill_children() -> None:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # "pid (name) state ppid …": the name may hold spaces and parentheses.
            parent = entry.read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                os.kill(int(entry.parent.name), signal.SIGKILL)
        except (OSError, IndexError):
            continue  # it ended while we looked


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
