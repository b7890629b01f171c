"""What the parent sends to a child, which believes it: the one program that it is to run.

Not JSON, as what comes back: reading this makes a child copy fewer pages of memory.
"""

from __future__ import annotations

import struct

from cap_sandbox.protocol import Limits

_HEADER = struct.Struct("!dQII")


def pack_request(program: str, limits: Limits, *, wall_s: float) -> bytes:
    """Write what a child is to run, and what is left to it of `limits.wall_s`."""
    text = program.encode("utf-8", "surrogatepass")
    return _HEADER.pack(wall_s, limits.memory_bytes, limits.output_bytes, len(text)) + text


def unpack_request(data: bytes) -> tuple[str, Limits] | None:
    """Read what `pack_request` wrote; None while it has not come whole."""
    if len(data) < _HEADER.size:
        return None
    wall_s, memory_bytes, output_bytes, length = _HEADER.unpack_from(data)
    text = data[_HEADER.size :]
    if len(text) < length:
        return None
    return text.decode("utf-8", "surrogatepass"), Limits(wall_s, memory_bytes, output_bytes)
