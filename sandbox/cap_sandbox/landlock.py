"""Landlock: no files, no TCP, no signals to other processes, granted to any user by the kernel."""

from __future__ import annotations

import ctypes
import os

# Linux gave these three the same numbers on every architecture.
_CREATE_RULESET = 444
_RESTRICT_SELF = 446
_GET_VERSION = 1

# Rights over files known since each version of the interface: all are handled, none is granted.
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
_TCP_RIGHTS_SINCE = 4
_SCOPES_SINCE = 6


class _Attributes(ctypes.Structure):
    """What a ruleset handles, `struct landlock_ruleset_attr`."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class Ruleset:
    """A ruleset that grants nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def restrict(self) -> None:
        """Put this process, which must have no_new_privs set, under the ruleset for ever.

        Raises:
            OSError: the kernel refused.
        """
        _syscall(_RESTRICT_SELF, self._descriptor, 0)


def create_ruleset() -> Ruleset | None:
    """Return a ruleset that denies all this kernel can deny; None where it has no Landlock."""
    try:
        version = _syscall(_CREATE_RULESET, 0, 0, _GET_VERSION)
        attributes, size = _attributes(version)
        return Ruleset(_syscall(_CREATE_RULESET, ctypes.addressof(attributes), size, 0))
    except OSError:
        return None


def _attributes(version: int) -> tuple[_Attributes, int]:
    files = max(bits for since, bits in _FILE_RIGHTS.items() if since <= version)
    attributes = _Attributes(handled_access_fs=(1 << files) - 1)
    if version >= _TCP_RIGHTS_SINCE:
        attributes.handled_access_net = 0b11
    if version >= _SCOPES_SINCE:
        attributes.scoped = 0b11
    fields = 1 + (version >= _TCP_RIGHTS_SINCE) + (version >= _SCOPES_SINCE)
    return attributes, fields * ctypes.sizeof(ctypes.c_uint64)


_LIBC_SYSCALL = ctypes.CDLL(None, use_errno=True).syscall
_LIBC_SYSCALL.restype = ctypes.c_long
_LIBC_SYSCALL.argtypes = [ctypes.c_long] + [ctypes.c_ulong] * 3


def _syscall(number: int, first: int, second: int, third: int = 0) -> int:
    result = _LIBC_SYSCALL(number, first, second, third)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)
