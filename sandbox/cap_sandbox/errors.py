"""What the sandbox itself can fail at. A program's faults are never errors here."""

from __future__ import annotations


class PoolError(Exception):
    """The sandbox, not a program, failed."""


class QueueFullError(PoolError):
    """More programs wait than the pool lets wait.

    Args:
        waiting: how many do.
    """

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        super().__init__(f"{waiting} programs are waiting already")


class WeakIsolationError(PoolError):
    """This machine offers no system-call filter, and weak isolation was not asked for."""

    def __init__(self) -> None:
        super().__init__(
            "programs cannot be shut in here: no seccomp filter can be loaded (is libseccomp.so.2 "
            "installed, and does the container's runtime allow seccomp?). To run programs without "
            "it all the same, on a machine that has nothing to lose, set CAP_SANDBOX_ALLOW_WEAK=1"
        )


class PolicyError(Exception):
    """The policy refused something that only showed while the program ran."""
