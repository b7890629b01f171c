"""The system-call filter: what a program's process may still ask the kernel.

libseccomp compiles the rules once, in the zygote; each child loads the compiled filter with one
`prctl`. What is not allowed fails with EPERM, and what no honest program can want kills.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOWED_WORDS = """
    read write close brk munmap mremap madvise futex rt_sigaction rt_sigprocmask rt_sigreturn
    sigaltstack restart_syscall rseq membarrier sched_yield getrandom nanosleep gettimeofday time
    getpid gettid getrusage poll exit exit_group
"""
_ALLOWED = _ALLOWED_WORDS.split()

_KILLING_WORDS = """
    execve execveat ptrace process_vm_readv process_vm_writev unshare setns mount umount2
    pivot_root chroot bpf io_uring_setup io_uring_enter io_uring_register userfaultfd keyctl
    add_key request_key perf_event_open init_module finit_module delete_module kexec_load
    kexec_file_load open_by_handle_at reboot swapon swapoff
"""
_KILLING = _KILLING_WORDS.split()

# <linux/seccomp.h>, <linux/prctl.h> and <seccomp.h>
_SECCOMP_RET_KILL_PROCESS = 0x8000_0000
_SECCOMP_RET_ERRNO = 0x0005_0000
_SECCOMP_RET_ALLOW = 0x7FFF_0000
_EPERM = 1
_ATTRIBUTE_BAD_ARCHITECTURE = 2
_ATTRIBUTE_OPTIMIZE = 8
_BINARY_TREE = 2
_EQUAL = 4
_MASKED_EQUAL = 7
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_PRCTL_TYPES = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)

# Numbers of processes and clocks are ints: the upper half of a register means nothing.
_ANY_BIT = 0xFFFF_FFFF
# The machine's own clocks have numbers below 16, and other processes' negative ones.
_BEYOND_OWN_CLOCKS = 0xFFFF_FFF0

_RLIMIT_CPU = 0
_RLIMIT_AS = 9


class _Comparison(ctypes.Structure):
    """One test of one argument, `struct scmp_arg_cmp`."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Program(ctypes.Structure):
    """A compiled filter as the kernel takes it, `struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class SeccompError(Exception):
    """There is no libseccomp, or it refused the filter."""


class Filter:
    """A compiled filter, ready to be loaded by a process that has no_new_privs set.

    Args:
        bpf: the filter's instructions, eight bytes each.
    """

    def __init__(self, bpf: bytes) -> None:
        self._instructions = ctypes.create_string_buffer(bpf, len(bpf))
        self._program = _Program(len(bpf) // 8, ctypes.addressof(self._instructions))
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl
        self._prctl.argtypes = _PRCTL_TYPES

    def load(self) -> None:
        """Put this process under the filter, for ever.

        Raises:
            OSError: the kernel has no seccomp filters, or forbids them.
        """
        program = ctypes.addressof(self._program)
        if self._prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def compile_filter() -> Filter:
    """Compile the filter for this machine.

    Raises:
        SeccompError: why it cannot be.
    """
    library = _library()
    with _context(library) as context:
        for name in _ALLOWED:
            _add(library, context, _SECCOMP_RET_ALLOW, name)
        for name in _KILLING:
            _add(library, context, _SECCOMP_RET_KILL_PROCESS, name)
        _add_conditional_rules(library, context)
        return Filter(_export(library, context))


def _add_conditional_rules(library: ctypes.CDLL, context: int) -> None:
    # No page is ever executable that was not when the program began.
    not_executable = _Comparison(2, _MASKED_EQUAL, mmap.PROT_EXEC, 0)
    for name in ("mmap", "mprotect"):
        _add(library, context, _SECCOMP_RET_ALLOW, name, not_executable)
    # With another process's number these would tell that it exists, and what time it has used.
    own_process = _Comparison(0, _MASKED_EQUAL, _ANY_BIT, 0)
    _add(library, context, _SECCOMP_RET_ALLOW, "sched_getaffinity", own_process)
    own_clock = _Comparison(0, _MASKED_EQUAL, _BEYOND_OWN_CLOCKS, 0)
    for name in ("clock_gettime", "clock_getres", "clock_nanosleep"):
        _add(library, context, _SECCOMP_RET_ALLOW, name, own_clock)
    # The child sets these two for itself once it knows the program's limits; without privileges
    # they can only be lowered after that.
    itself = _Comparison(0, _EQUAL, 0, 0)
    for resource in (_RLIMIT_CPU, _RLIMIT_AS):
        limit = _Comparison(1, _EQUAL, resource, 0)
        _add(library, context, _SECCOMP_RET_ALLOW, "prlimit64", itself, limit)


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise SeccompError("libseccomp.so.2 is not installed") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]  # fmt: skip
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


@contextmanager
def _context(library: ctypes.CDLL) -> Iterator[int]:
    context = library.seccomp_init(_SECCOMP_RET_ERRNO | _EPERM)
    if not context:
        raise SeccompError("libseccomp does not know this machine")
    try:
        library.seccomp_attr_set(context, _ATTRIBUTE_BAD_ARCHITECTURE, _SECCOMP_RET_KILL_PROCESS)
        # Older libraries lack the tree and refuse this; the filter is the same, only slower.
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, _BINARY_TREE)
        yield context
    finally:
        library.seccomp_release(context)


def _add(
    library: ctypes.CDLL, context: int, action: int, name: str, *comparisons: _Comparison
) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        # This machine has no such call (an older libseccomp, another architecture): the default,
        # EPERM, covers it.
        return
    array = (_Comparison * len(comparisons))(*comparisons)
    code = library.seccomp_rule_add_array(context, action, number, len(comparisons), array)
    if code:
        raise SeccompError(f"libseccomp refuses the rule for {name}: {os.strerror(-code)}")


def _export(library: ctypes.CDLL, context: int) -> bytes:
    file = os.memfd_create("filter", os.MFD_CLOEXEC)
    try:
        code = library.seccomp_export_bpf(context, file)
        if code:
            raise SeccompError(f"libseccomp cannot write the filter: {os.strerror(-code)}")
        return os.pread(file, os.fstat(file).st_size, 0)
    finally:
        os.close(file)
