"""Programs take turns: few at once, within their memory, and no request waits for another's end."""

from __future__ import annotations

import asyncio

import pytest

from cap_sandbox import QueueFullError
from cap_sandbox.turns import Turns


class Program:
    """A program that runs until it is told to end.

    Args:
        order: where it notes its name when it begins.
    """

    def __init__(
        self, turns: Turns, name: str, *, order: list[str], client: str = "", memory_bytes: int = 1
    ) -> None:
        self._ending = asyncio.Event()
        self.task = asyncio.ensure_future(self._run(turns, name, order, client, memory_bytes))

    async def _run(
        self, turns: Turns, name: str, order: list[str], client: str, memory_bytes: int
    ) -> None:
        async with turns.turn(client, memory_bytes=memory_bytes):
            order.append(name)
            await self._ending.wait()

    def let_end(self) -> None:
        self._ending.set()

    async def end(self) -> None:
        self.let_end()
        await self.task
        await settle()


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_request_with_many_programs_does_not_make_another_wait_for_all_of_them() -> None:
    turns, order = Turns(workers=1, memory_bytes=9, max_waiting=9), list[str]()
    many = [Program(turns, f"many {n}", order=order, client="many") for n in range(4)]
    await settle()
    few = [Program(turns, f"few {n}", order=order, client="few") for n in range(2)]
    await settle()
    for program in (many[0], many[1], few[0], many[2], few[1], many[3]):
        await program.end()
    assert order == ["many 0", "many 1", "few 0", "many 2", "few 1", "many 3"]


async def test_no_more_memory_is_given_than_there_is() -> None:
    turns, order = Turns(workers=4, memory_bytes=10, max_waiting=9), list[str]()
    programs = [Program(turns, str(n), order=order, memory_bytes=4) for n in range(3)]
    await settle()
    assert order == ["0", "1"]
    await programs[0].end()
    assert order == ["0", "1", "2"]
    for program in programs[1:]:
        await program.end()


async def test_a_large_program_is_not_passed_by_for_ever() -> None:
    turns, order = Turns(workers=4, memory_bytes=10, max_waiting=9), list[str]()
    first = Program(turns, "first", order=order, memory_bytes=4)
    await settle()
    large = Program(turns, "large", order=order, client="other", memory_bytes=10)
    await settle()
    small = Program(turns, "small", order=order, memory_bytes=1)
    await settle()
    assert order == ["first"]
    for program in (first, large, small):
        await program.end()
    assert order == ["first", "large", "small"]


async def test_who_leaves_the_queue_or_a_turn_takes_nothing_along() -> None:
    turns, order = Turns(workers=1, memory_bytes=10, max_waiting=9), list[str]()
    running = Program(turns, "running", order=order)
    await settle()
    leaves = Program(turns, "leaves", order=order, memory_bytes=10)
    stays = Program(turns, "stays", order=order)
    await settle()
    leaves.task.cancel()
    await settle()
    running.task.cancel()
    await settle()
    assert order == ["running", "stays"]
    await stays.end()
    last = Program(turns, "last", order=order, memory_bytes=10)
    await settle()
    assert order[-1] == "last"
    await last.end()


async def test_who_is_cancelled_at_the_moment_of_its_turn_gives_it_on() -> None:
    turns, order = Turns(workers=1, memory_bytes=10, max_waiting=9), list[str]()
    running = Program(turns, "running", order=order)
    await settle()
    next_one, after = (Program(turns, name, order=order) for name in ("next", "after"))
    await settle()
    # Its turn comes within `cancel`'s own round of the loop, before it runs again.
    running.let_end()
    await asyncio.sleep(0)
    next_one.task.cancel()
    await settle()
    assert order == ["running", "after"]
    await after.end()


async def test_a_full_queue_refuses_and_says_how_many_wait() -> None:
    turns, order = Turns(workers=1, memory_bytes=10, max_waiting=1), list[str]()
    programs = [Program(turns, str(n), order=order) for n in range(2)]
    await settle()
    with pytest.raises(QueueFullError) as refusal:
        async with turns.turn("", memory_bytes=1):
            raise AssertionError("it had a turn")
    assert refusal.value.waiting == 1
    for program in programs:
        await program.end()
    async with turns.turn("", memory_bytes=10):
        pass


async def test_one_that_runs_and_one_that_waits_may_be_cancelled_at_once() -> None:
    turns, order = Turns(workers=1, memory_bytes=9, max_waiting=1), list[str]()
    running = Program(turns, "running", order=order)
    await settle()
    waiting = Program(turns, "waiting", order=order)
    await settle()
    for program in (running, waiting):
        program.task.cancel()
    for program in (running, waiting):
        with pytest.raises(asyncio.CancelledError):
            await program.task
    assert (turns.running, turns.waiting) == (0, 0)
    last = Program(turns, "last", order=order)
    await settle()
    assert order == ["running", "last"]
    await last.end()
