"""The kernel's layers around a program, and which of them this machine grants.

What can be shared is set up once in the zygote (`enter`); the rest each child does for itself
before it reads a byte of its program (`Jail.close`).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from dataclasses import dataclass

from cap_sandbox import landlock, namespaces, seccomp

LINK = 0
"""The one descriptor that a program's process has."""

_NOBODY = 65534
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x2008_0522

# A reserve that the child alone opens, to report a MemoryError when the program used up the rest.
_REPORT_RESERVE = 48 * 1024**2
_STACK_BYTES = 64 * 1024**2


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


@dataclass(frozen=True, slots=True)
class Jail:
    """The layers of one zygote, to be closed around each of its children.

    Attributes:
        layers: each layer's name and whether this machine grants it.
        base_bytes: address space of the zygote, which a program does not pay for.
    """

    layers: dict[str, bool]
    base_bytes: int
    _parent: int
    _max_descriptors: int
    _ruleset: landlock.Ruleset | None
    _filter: seccomp.Filter | None

    def close(self, fd: int) -> None:
        """Shut this process in: only `fd`, which becomes `LINK`, memory and time are left.

        Raises:
            OSError: a layer that the zygote had found to work did not.
        """
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._parent:
            # It died before the line above, which tells of later deaths only.
            os._exit(0)
        if self._ruleset is not None:
            self._ruleset.restrict()
        os.dup2(fd, LINK)
        os.closerange(LINK + 1, self._max_descriptors)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        # The link is open at 0, so there is no number left for another; 0 would forbid `poll`.
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, 1))
        if self._filter is not None:
            self._filter.load()

    def limit(self, memory_bytes: int, wall_s: float) -> None:
        """Bound this process's address space and processor time."""
        soft = self.base_bytes + memory_bytes
        _lower(resource.RLIMIT_AS, soft, soft + _REPORT_RESERVE)
        # A program cannot use more processor time than wall time; the second above is for the
        # kernel's whole seconds. The parent's clock comes first; this holds when the parent hangs.
        seconds = int(wall_s) + 2
        _lower(resource.RLIMIT_CPU, seconds, seconds + 1)

    def open_reserve(self) -> None:
        """Give back the memory that was kept for the report."""
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def enter(without: frozenset[str] = frozenset()) -> Jail:
    """Shut this zygote in as far as the machine grants, and find out how far that is.

    Call once, when everything that programs may import has been imported.

    Args:
        without: layers to leave out: `namespaces`, `landlock`, `seccomp`.
    """
    base_bytes = _address_space()
    compiled = None if "seccomp" in without else _compiled_filter()
    world = namespaces.World() if "namespaces" in without else namespaces.enter()
    unprivileged = _drop_uid(world)
    _drop_capabilities()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # Changing the user forgets both of these; children inherit the second.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_DUMPABLE, 0)
    if world.namespaces:
        namespaces.start_init()
    _set_inherited_limits()
    ruleset = None if "landlock" in without else landlock.create_ruleset()
    layers = {
        "seccomp": compiled is not None,
        "rlimits": True,
        "no_new_privs": True,
        "landlock": ruleset is not None,
        "namespaces": world.namespaces,
        "empty_root": world.empty_root,
        "unprivileged_user": unprivileged,
    }
    # Seen from within a process namespace, a parent outside of it has the number 0.
    parent = 0 if world.namespaces else os.getpid()
    return Jail(layers, base_bytes, parent, os.sysconf("SC_OPEN_MAX"), ruleset, compiled)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def tier(layers: dict[str, bool]) -> str:
    """Name what `layers` amount to: `strong`, `standard`, `basic` or `weak`."""
    if not layers["seccomp"]:
        return "weak"
    if layers["namespaces"] and layers["empty_root"]:
        return "strong"
    return "standard" if layers["landlock"] else "basic"


def _compiled_filter() -> seccomp.Filter | None:
    try:
        compiled = seccomp.compile_filter()
    except seccomp.SeccompError:
        return None
    return compiled if _works(compiled) else None


def _works(compiled: seccomp.Filter) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            _prctl(_PR_SET_NO_NEW_PRIVS, 1)
            compiled.load()
            os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _set_inherited_limits() -> None:
    """Set what this process itself can do without, too."""
    for limit in (
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_CORE,
        resource.RLIMIT_MEMLOCK,
        resource.RLIMIT_MSGQUEUE,
    ):
        resource.setrlimit(limit, (0, 0))
    _lower(resource.RLIMIT_STACK, _STACK_BYTES, _STACK_BYTES)


def _lower(limit: int, soft: int, hard: int) -> None:
    """Set `limit`, or leave it where the machine already allows less."""
    _, allowed = resource.getrlimit(limit)
    if allowed != resource.RLIM_INFINITY:
        soft, hard = min(soft, allowed), min(hard, allowed)
    resource.setrlimit(limit, (soft, hard))


def _drop_uid(world: namespaces.World) -> bool:
    if os.geteuid() != 0 or world.user_namespace:
        # Not root to begin with; or in a namespace that maps no other user to become.
        return os.geteuid() != 0
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:
        return False
    return True


def _drop_capabilities() -> None:
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(header), nothing)


_LIBC_PRCTL = ctypes.CDLL(None, use_errno=True).prctl
_LIBC_PRCTL.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


def _prctl(option: int, argument: int) -> None:
    if _LIBC_PRCTL(option, argument, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
