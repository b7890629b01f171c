"""What there is for programs is what the machine and every control group have left."""

from __future__ import annotations

import pytest

from cap_sandbox import memory


def test_available_memory_is_within_what_the_kernel_says_is_free() -> None:
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file)
    total = 1024 * int(fields["MemTotal"].split()[0])
    assert 0 < memory.available() < total


def test_a_group_has_no_processes_but_those_that_are_added() -> None:
    group = memory.bounded_group(2**30)
    if group is None:
        pytest.skip("this machine lets nobody make a control group")
    assert group.remove()
    with pytest.raises(OSError, match="No such file"):
        group.add(1)
