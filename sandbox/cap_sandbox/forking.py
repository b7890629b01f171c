"""A fork without what Python adds to it, for processes of one thread."""

from __future__ import annotations

import ctypes
import os

_fork = ctypes.PyDLL(None, use_errno=True).fork


def fork() -> int:
    """Fork as `os.fork` does, and return the same.

    What Python does besides makes a child copy two hundred pages, for nothing here: it sets locks
    free that other threads might hold, and there are none; and it mixes the state of `random`,
    which every program starts anew. The interpreter's own lock is held meanwhile, and stays held
    by the one thread that either process has.

    Raises:
        OSError: the kernel refused.
    """
    pid = int(_fork())
    if pid < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return pid
