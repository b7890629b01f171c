"""Runs untrusted Python programs. Imports nothing of the server."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cap_sandbox.errors import PoolError, QueueFullError, WeakIsolationError
    from cap_sandbox.figures import Figure
    from cap_sandbox.pool import Pool
    from cap_sandbox.protocol import TIERS, Execution, Limits, Status, Value, ValueType

__all__ = [
    "TIERS",
    "Execution",
    "Figure",
    "Limits",
    "Pool",
    "PoolError",
    "QueueFullError",
    "Status",
    "Value",
    "ValueType",
    "WeakIsolationError",
]

_HOMES = (
    "cap_sandbox.errors", "cap_sandbox.figures", "cap_sandbox.pool", "cap_sandbox.protocol",
)  # fmt: skip


def __getattr__(name: str) -> object:
    """Import what is asked for: warm processes import this package too, and fork it all."""
    if name in __all__:
        for home in map(importlib.import_module, _HOMES):
            if name in vars(home):
                return getattr(home, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
