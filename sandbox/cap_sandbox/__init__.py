"""Runs untrusted Python programs. Imports nothing of the server."""

from cap_sandbox.protocol import Execution, Limits, Status, Value, ValueType

__all__ = ["Execution", "Limits", "Status", "Value", "ValueType"]
