"""Runs untrusted Python programs. Imports nothing of the server."""

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
