"""The pages of memory that programs write to, found by a trial and copied ahead of need.

A child shares its parent's memory until it writes to it: then the kernel copies, page by page, and
that is half of what a short program costs. All programs of a kind write to some of the same pages.
"""

from __future__ import annotations

import ctypes
import os
import resource
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from cap_sandbox.forking import fork
from cap_sandbox.jail import die_with_parent

PAGE = resource.getpagesize()
_HUGE_PAGE = 2 * 1024**2
_MADV_POPULATE_WRITE = 23
_MADV_COLLAPSE = 25
# `/proc/PID/pagemap`: no other process has this page.
_EXCLUSIVE = 1 << 56
_WORD = 8
_CHUNK = 64 * 1024

Run = tuple[int, int]
"""Pages in a row: the address of the first, and their length in bytes."""

_madvise = ctypes.CDLL(None, use_errno=True).madvise
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def written_by(trials: Sequence[Callable[[], object]]) -> list[Run]:
    """Return the pages that children of this process write to in each one of `trials`.

    There are none where the kernel does not tell (`/proc/self/pagemap`).
    """
    ranges = list(_private_ranges())
    # What a child writes to in any case, it has written to when it comes to copying.
    always = set(_trial(lambda: None, ranges))
    written = set.intersection(*(set(_trial(trial, ranges)) for trial in trials))
    return _in_rows(sorted(written - always))


def _trial(trial: Callable[[], object], ranges: Sequence[Run]) -> array[int]:
    """Return the addresses of the pages that a child writes to."""
    source, sink = os.pipe()
    pid = fork()
    if pid == 0:
        # A parent that is killed takes this with it: by the signal, or by a pipe without a reader.
        os.close(source)
        with suppress(BaseException):
            die_with_parent()
            trial()
            _send(sink, _exclusive(ranges))
        os._exit(0)
    os.close(sink)
    with open(source, "rb") as stream:
        addresses = array("Q", stream.read())
    os.waitpid(pid, 0)
    return addresses


def _in_rows(addresses: Iterable[int]) -> list[Run]:
    runs: list[Run] = []
    for address in addresses:
        start, length = runs[-1] if runs else (0, 0)
        if start + length == address:
            runs[-1] = (start, length + PAGE)
        else:
            runs.append((address, PAGE))
    return runs


def copy(runs: Sequence[Run]) -> None:
    """Have the kernel copy pages for this process. Kernels before 5.14 refuse; nothing is lost."""
    for start, length in runs:
        _madvise(start, length, _MADV_POPULATE_WRITE)


def merge() -> None:
    """Ask for huge pages: a fork copies the table of pages, and it gets much shorter.

    Kernels before 6.1, and those with huge pages switched off, refuse; nothing depends on it.
    """
    for start, length in _private_ranges():
        first = -(-start // _HUGE_PAGE) * _HUGE_PAGE
        for address in range(first, start + length - _HUGE_PAGE + 1, _HUGE_PAGE):
            _madvise(address, _HUGE_PAGE, _MADV_COLLAPSE)


def _exclusive(ranges: Sequence[Run]) -> array[int]:
    """Return the addresses of the pages that are this process's alone."""
    found = array("Q")
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for start, length in ranges:
            size, offset = length // PAGE * _WORD, start // PAGE * _WORD
            words = array("Q", os.pread(pagemap.fileno(), size, offset))
            found.extend(start + n * PAGE for n, word in enumerate(words) if word & _EXCLUSIVE)
    return found


def _send(sink: int, addresses: array[int]) -> None:
    view = memoryview(addresses.tobytes())
    while view:
        view = view[os.write(sink, view[:_CHUNK]) :]


def _private_ranges() -> Iterator[Run]:
    with open("/proc/self/maps", encoding="ascii", errors="replace") as file:
        lines = file.read().splitlines()
    for line in lines:
        addresses, rights, *rest = line.split()
        if "w" in rights and (len(rest) < 4 or rest[3] == "[heap]"):
            start, _, end = addresses.partition("-")
            yield int(start, 16), int(end, 16) - int(start, 16)
