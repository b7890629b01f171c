"""Namespaces and an empty root: a world without the host's processes, network and files."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass

_NEWNS = 0x0002_0000
_NEWCGROUP = 0x0200_0000
_NEWUTS = 0x0400_0000
_NEWIPC = 0x0800_0000
_NEWUSER = 0x1000_0000
_NEWPID = 0x2000_0000
_NEWNET = 0x4000_0000
_ALL = _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET | _NEWCGROUP

_MS_RDONLY_NOSUID_NODEV_NOEXEC = 0b1111
_MS_REMOUNT = 0x20
_MS_BIND = 0x1000
_MS_REC_PRIVATE = 0x4000 | 0x4_0000
_MNT_DETACH = 2

# Any directory will do to hang the empty root on; these exist wherever Linux runs.
_MOUNT_POINTS = ("/tmp", "/proc", "/dev", "/usr")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class World:
    """How far this process has left the host.

    Attributes:
        namespaces: processes, network, mounts, IPC and host name are its own.
        empty_root: its root directory is an empty one that cannot be written.
        user_namespace: it needed a user namespace for that, as an ordinary user does.
    """

    namespaces: bool = False
    empty_root: bool = False
    user_namespace: bool = False


def enter() -> World:
    """Leave the host's namespaces and files as far as the machine grants.

    Children of this process live in the new process namespace; this process itself does not.
    `start_init` must be the next thing that forks.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and _call("unshare", _ALL):
        return World(namespaces=True, empty_root=_empty_root())
    if _call("unshare", _NEWUSER | _ALL):
        _map_ids(uid, gid)
        return World(namespaces=True, empty_root=_empty_root(), user_namespace=True)
    return World()


def start_init() -> None:
    """Fork the namespace's first process: it only waits for this one to end, and ends with it.

    Its end ends every process in the namespace.
    """
    life, death = os.pipe()
    if os.fork() == 0:
        os.dup2(life, 0)
        os.closerange(1, os.sysconf("SC_OPEN_MAX"))
        # The end of the pipe, not a signal: a parent that dies right after the fork sends none.
        os.read(0, 1)
        os._exit(0)
    os.close(life)
    # `death` stays open, here alone, for as long as this process lives.
    os.set_inheritable(death, False)


def _map_ids(uid: int, gid: int) -> None:
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        # Root without capabilities may not map itself; it goes on as nobody, unmapped.
        with suppress(OSError), open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _empty_root() -> bool:
    point = next((path for path in _MOUNT_POINTS if os.path.isdir(path)), None)
    if point is None or not _call("mount", b"none", b"/", None, _MS_REC_PRIVATE, None):
        return False
    if not _call("mount", b"tmpfs", point.encode(), b"tmpfs", 0, b"size=4k,nr_inodes=2,mode=555"):
        return False
    os.chdir(point)
    if not _call("pivot_root", b".", b".") or not _call("umount2", b".", _MNT_DETACH):
        return False
    os.chdir("/")
    flags = _MS_REMOUNT | _MS_BIND | _MS_RDONLY_NOSUID_NODEV_NOEXEC
    return _call("mount", None, b"/", None, flags, None)


def _call(name: str, *arguments: int | bytes | None) -> bool:
    call = getattr(_libc, name)
    return int(call(*arguments)) == 0
