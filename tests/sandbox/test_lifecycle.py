"""The pool keeps serving, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from cap_sandbox import Execution, Limits, Pool, PoolError, QueueFullError
from cap_sandbox.memory import bounded_group
from tests.processes import children

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(wall_s=20)
ENDLESS = "while True: pass"
MIB = 1024**2


@pytest.fixture(scope="module")
def others() -> set[int]:
    """The processes of other tests' pools."""
    return set(warm_processes())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(others: set[int]) -> AsyncIterator[Pool]:
    async with Pool(workers=2) as started:
        yield started


def status_of(pid: int) -> tuple[str, int]:
    """Return a process's state letter and its parent, by `/proc/PID/stat`."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[1])


def descendants(ancestor: int) -> dict[int, str]:
    """Return the state letters of all processes that stem from `ancestor`."""
    known: dict[int, tuple[str, int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            known[int(path.name)] = status_of(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = {ancestor: ""}
    while more := {p: s for p, (s, parent) in known.items() if parent in found and p not in found}:
        found |= more
    del found[ancestor]
    return found


def warm_processes() -> list[int]:
    return sorted(children(os.getpid()))


async def until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Wait for something that only `/proc` tells."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def assert_serves(pool: Pool) -> None:
    execution = await pool.execute("answer = 6 * 7", limits=LIMITS)
    assert execution.value is not None
    assert execution.value.text == "42"


def burnt(pid: int) -> int:
    """How much processor time a process has used, in hundredths of a second; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[11])


async def running_pid() -> int:
    """Wait for a program that does nothing but burn processor time; return its process's number."""
    first: dict[int, int] = {}
    async with asyncio.timeout(60):
        while True:
            # What a process takes to warm up is less, and warm processes started long ago.
            for pid in descendants(os.getpid()).keys() - set(warm_processes()):
                if burnt(pid) - first.setdefault(pid, burnt(pid)) > 50:
                    return pid
            await asyncio.sleep(0.02)


async def settled(observe: Callable[[], object]) -> None:
    """Wait until what is observed stays as it is."""
    seen, same = observe(), 0
    async with asyncio.timeout(60):
        while same < 25:
            await asyncio.sleep(0.02)
            now = observe()
            seen, same = now, same + 1 if now == seen else 0


async def test_cancelling_kills_the_program(pool: Pool) -> None:
    running = asyncio.create_task(pool.execute(ENDLESS, limits=Limits(wall_s=60)))
    pid = await running_pid()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not Path(f"/proc/{pid}").exists())
    await assert_serves(pool)


async def test_a_timed_out_program_is_gone(pool: Pool) -> None:
    running = asyncio.create_task(pool.execute(ENDLESS, limits=Limits(wall_s=4)))
    pid = await running_pid()
    assert (await running).status == "timeout"
    await until(lambda: not Path(f"/proc/{pid}").exists())


async def test_nothing_is_left_of_three_hundred_programs(pool: Pool) -> None:
    programs = ["answer = 1", "1 / 0", "import os", "print('x' * 10**5)"] * 75
    await assert_serves(pool)
    zygotes = warm_processes()

    def descriptors() -> list[int]:
        # Only root may look into warm processes.
        seen = (os.getpid(), *zygotes) if os.geteuid() == 0 else (os.getpid(),)
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in seen]

    await settled(lambda: (descriptors(), len(descendants(os.getpid()))))
    before, processes = descriptors(), len(descendants(os.getpid()))
    executions = await asyncio.gather(*(pool.execute(text, limits=LIMITS) for text in programs))
    assert {execution.status for execution in executions} == {"ok", "error", "rejected"}
    await until(lambda: descriptors() == before, seconds=60)
    await until(lambda: len(descendants(os.getpid())) == processes)
    assert "Z" not in descendants(os.getpid()).values()
    assert warm_processes() == zygotes


async def test_the_next_program_is_served_when_every_warm_process_was_killed(
    pool: Pool, others: set[int]
) -> None:
    for pid in set(warm_processes()) - others:
        os.kill(pid, signal.SIGKILL)
    await assert_serves(pool)


async def test_a_warm_process_that_can_fork_no_more_is_replaced(
    pool: Pool, others: set[int]
) -> None:
    def mine() -> set[int]:
        return {pid for pid in set(warm_processes()) - others if children(pid)}

    await until(lambda: len(mine()) == 2 * min(2, len(os.sched_getaffinity(0))))
    for pid in mine():
        # The first that it forked is its namespace's first, without which there is no other.
        os.kill(min(children(pid)), signal.SIGKILL)
    async with asyncio.timeout(60):  # those that were ready in there died with it
        while (await pool.execute("answer = 6 * 7", limits=LIMITS)).value is None:
            pass
    await assert_serves(pool)


async def test_a_program_whose_warm_process_is_killed_is_run_again(
    pool: Pool, others: set[int]
) -> None:
    await assert_serves(pool)
    await asyncio.sleep(0.3)
    running = asyncio.create_task(
        pool.execute("import time\ntime.sleep(1)\nanswer = 8", limits=LIMITS)
    )
    await asyncio.sleep(0.3)
    for pid in set(warm_processes()) - others:
        os.kill(pid, signal.SIGKILL)
    execution = await running
    assert execution.value is not None
    assert execution.value.text == "8"


async def test_a_warm_process_that_hangs_does_not_hold_up_the_others(
    pool: Pool, others: set[int]
) -> None:
    await assert_serves(pool)
    mine = sorted(set(warm_processes()) - others)
    if len(mine) < 2:
        pytest.skip("one core has one warm process")
    os.kill(mine[0], signal.SIGSTOP)
    try:
        for _ in range(6):
            async with asyncio.timeout(15):
                await assert_serves(pool)
    finally:
        with suppress(ProcessLookupError):
            os.kill(mine[0], signal.SIGCONT)


async def test_a_burst_of_memory_bombs_leaves_the_pool_serving(pool: Pool) -> None:
    bomb = "x = []\nwhile True: x.append(bytearray(10**6))"
    limits = Limits(wall_s=20, memory_bytes=256 * 1024**2)
    executions = await asyncio.gather(*(pool.execute(bomb, limits=limits) for _ in range(12)))
    assert {execution.status for execution in executions} == {"memory"}
    await assert_serves(pool)


def control_groups(maker: int) -> set[Path]:
    """Those that the process `maker` has made; other pools may run on this machine."""
    return set(Path("/sys/fs/cgroup").rglob(f"cap-sandbox-{maker}-*"))


async def test_all_programs_together_get_no_more_memory_than_the_pool_has() -> None:
    nap = "import time\nbegun = time.time()\ntime.sleep(0.3)\nanswer = [begun, time.time()]"
    before = control_groups(os.getpid())
    async with Pool(workers=2, memory_bytes=1024 * MIB) as pool:
        large = Limits(wall_s=20, memory_bytes=600 * MIB)
        both = await asyncio.gather(*(pool.execute(nap, limits=large) for _ in range(2)))
        assert not overlap(spans(both))
        larger = Limits(wall_s=20, memory_bytes=2048 * MIB)
        execution = await pool.execute("x = bytearray(1200 * 1024**2)", limits=larger)
        assert execution.status == "memory"
        made = control_groups(os.getpid()) - before
        if pool.layers["cgroup"]:
            (group,) = made
            held = set(map(int, (group / "cgroup.procs").read_text().split()))
            assert held & set(warm_processes())
    assert control_groups(os.getpid()) <= before


async def test_a_control_group_that_was_left_behind_is_taken_away() -> None:
    trial = bounded_group(2**30)
    if trial is None:
        pytest.skip("this machine lets nobody make a control group")
    assert trial.remove()
    script = "from cap_sandbox.memory import bounded_group; bounded_group(2**30)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await process.wait() == 0
    (left,) = control_groups(process.pid)
    trial = bounded_group(2**30)
    assert trial is not None
    assert not left.exists()
    assert trial.remove()


async def test_one_request_with_many_programs_does_not_make_another_wait_for_them(
    pool: Pool,
) -> None:
    nap = "import time\ntime.sleep(0.05)"
    many = [asyncio.create_task(pool.execute(nap, limits=LIMITS, client="many")) for _ in range(30)]
    await asyncio.sleep(0)
    await pool.execute(nap, limits=LIMITS, client="few")
    assert sum(task.done() for task in many) < 15
    await asyncio.gather(*many)


async def test_programs_run_side_by_side(pool: Pool) -> None:
    nap = "import time\nbegun = time.time()\ntime.sleep(0.5)\nanswer = [begun, time.time()]"
    both = await asyncio.gather(*(pool.execute(nap, limits=LIMITS) for _ in range(2)))
    assert overlap(spans(both))


def spans(executions: Sequence[Execution]) -> list[tuple[float, float]]:
    """When programs began and ended, as their answers say."""
    pairs = [each.value.items for each in executions if each.value and each.value.items]
    assert len(pairs) == len(executions)
    return [(float(begun.text), float(ended.text)) for begun, ended in pairs]


def overlap(times: list[tuple[float, float]]) -> bool:
    return max(begun for begun, _ in times) < min(ended for _, ended in times)


async def test_a_full_queue_refuses_at_once_and_empties_again() -> None:
    async with Pool(workers=1, max_queue=2) as pool:
        endless = Limits(wall_s=60)
        running = [asyncio.create_task(pool.execute(ENDLESS, limits=endless)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError) as refusal:
            await pool.execute("answer = 2", limits=LIMITS)
        assert refusal.value.waiting == 2
        assert isinstance(refusal.value, PoolError)
        running.pop().cancel()
        await asyncio.sleep(0)
        last = asyncio.create_task(pool.execute("answer = 2", limits=LIMITS))
        await asyncio.sleep(0)
        for each in running:
            each.cancel()
        assert (await last).status == "ok"


async def test_leaving_the_pool_ends_every_process_and_program() -> None:
    before = set(descendants(os.getpid()))
    async with Pool(workers=1) as pool:
        running = asyncio.create_task(pool.execute(ENDLESS, limits=Limits(wall_s=60)))
        await asyncio.sleep(0.2)
        assert set(descendants(os.getpid())) > before
    await until(lambda: set(descendants(os.getpid())) <= before)
    with pytest.raises(PoolError):
        await running
    with pytest.raises(PoolError):
        await pool.execute("answer = 1", limits=LIMITS)


def orphans() -> set[str]:
    """The numbers of sandbox processes whose parent is gone."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            ours = b"cap_sandbox.zygote" in (path / "cmdline").read_bytes()
            if ours and status_of(int(path.name))[1] == 1:
                found.add(path.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


async def test_a_start_that_is_cut_short_leaves_nothing() -> None:
    orphaned, running = orphans(), warm_processes()
    started = time.monotonic()
    async with Pool(workers=1):
        start_s = time.monotonic() - started
    for part in (0.2, 0.9, 0.95, 0.97, 0.99):
        pool = Pool(workers=1)
        starting = asyncio.create_task(pool.__aenter__())
        await asyncio.sleep(part * start_s)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await pool.__aexit__(None, None, None)
    await until(lambda: orphans() <= orphaned)
    assert warm_processes() == running


SERVER = """
import asyncio
from cap_sandbox import Limits, Pool

async def main():
    async with Pool(workers=2) as pool:
        endless = pool.execute("while True: pass", limits=Limits(wall_s=60))
        running = asyncio.create_task(endless)
        await pool.execute("answer = 1", limits=Limits())
        print("serving", flush=True)
        await running

asyncio.run(main())
"""


async def test_nothing_outlives_a_server_that_was_killed() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"serving\n"
    family = descendants(process.pid)
    assert len(family) >= 4
    process.kill()
    await process.wait()
    await until(lambda: not any(_lives(pid) for pid in family))


def _lives(pid: int) -> bool:
    try:
        return status_of(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
