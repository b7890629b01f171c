"""How much memory there is for programs, and a control group that bounds them all together.

The pool itself lets no more programs run than fit; the control group is the kernel's word on it,
for what a program's address space does not tell. Where the machine lets nobody make one, as in
most containers, there is none.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
_PREFIX = "cap-sandbox-"


def available() -> int:
    """Return the bytes that this process and its children may still use."""
    fields = dict(
        line.split(":", 1) for line in Path("/proc/meminfo").read_text("ascii").splitlines()
    )
    machine = 1024 * int(fields["MemAvailable"].split()[0])
    folder, limit, used = _own()
    within = [machine]
    # Any group above may set the limit.
    while folder is not None and folder != folder.parent and _MOUNT in (folder, *folder.parents):
        bound, taken = _read(folder / limit), _read(folder / used)
        if bound is not None and taken is not None:
            within.append(bound - taken + _cached(folder / "memory.stat"))
        folder = folder.parent
    return max(0, min(within))


class MemoryGroup:
    """A control group of this process's own making.

    Args:
        folder: where the kernel shows it.
        limit: the name of the file that bounds its memory.
    """

    def __init__(self, folder: Path, limit: str) -> None:
        self._folder = folder
        self._limit = limit

    def bound(self, memory_bytes: int) -> None:
        """Let all its processes together have so much memory.

        Raises:
            OSError: the kernel refused.
        """
        # Not made if it is not there: then the group has no say over memory.
        with (self._folder / self._limit).open("r+", encoding="ascii") as file:
            file.write(str(memory_bytes))

    def add(self, pid: int) -> None:
        """Have the bound hold for a process and the children that it will have.

        Raises:
            OSError: the kernel refused.
        """
        (self._folder / "cgroup.procs").write_text(str(pid), "ascii")

    def remove(self) -> bool:
        """Take the group away; return whether it is gone, as it cannot be with processes in it."""
        with suppress(OSError):
            self._folder.rmdir()
        return not self._folder.exists()


def bounded_group(memory_bytes: int) -> MemoryGroup | None:
    """Return a new control group of at most `memory_bytes`; None where none can be made."""
    folder, limit, _ = _own()
    if folder is None:
        return None
    _tidy(folder)
    try:
        prefix = f"{_PREFIX}{os.getpid()}-"
        group = MemoryGroup(Path(tempfile.mkdtemp(prefix=prefix, dir=folder)), limit)
    except OSError:
        return None
    try:
        group.bound(memory_bytes)
    except OSError:
        group.remove()
        return None
    return group


def _tidy(folder: Path) -> None:
    """Take away the groups of processes that were killed and could not do it themselves."""
    for left in folder.glob(f"{_PREFIX}*"):
        maker = left.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", maker).exists():
            with suppress(OSError):
                left.rmdir()


def _own() -> tuple[Path | None, str, str]:
    """Return this process's group, and the names of its files for the limit and what is used."""
    groups: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            groups |= {name: path for name in controllers.split(",")}
    if "memory" in groups:
        folder = _MOUNT / "memory" / groups["memory"].lstrip("/")
        found = (folder, "memory.limit_in_bytes", "memory.usage_in_bytes")
    else:
        found = (_MOUNT / groups.get("", "").lstrip("/"), "memory.max", "memory.current")
    # In a container, the path may be the host's, and the group itself what is mounted.
    folder = found[0] if found[0].is_dir() else found[0].parent
    return (folder if folder.is_dir() else None), found[1], found[2]


def _cached(statistics: Path) -> int:
    """Return the bytes of files' contents that a group is charged for, and can give back."""
    found: dict[str, int] = {}
    with suppress(OSError, ValueError):
        for line in statistics.read_text("ascii").splitlines():
            name, _, number = line.partition(" ")
            found[name] = int(number)
    # Version 1 tells of the groups below in fields of their own, version 2 always means them too.
    kinds = ("inactive_file", "active_file")
    return sum(found.get(f"total_{kind}", found.get(kind, 0)) for kind in kinds)


def _read(path: Path) -> int | None:
    try:
        number = int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
    return number if number < _UNLIMITED else None
