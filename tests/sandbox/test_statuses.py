"""Every program ends in one of six ways, and says why."""

from __future__ import annotations

import pytest

from cap_sandbox import Execution, Limits, Pool

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIB = 1024**2


async def run(pool: Pool, program: str, *, wall_s: float = 10, memory: int = 256) -> Execution:
    return await pool.execute(program, limits=Limits(wall_s=wall_s, memory_bytes=memory * MIB))


async def test_a_program_that_ends_tells_what_it_used(pool: Pool) -> None:
    execution = await run(pool, "answer = sum(n * n for n in range(300_000))")
    assert execution.status == "ok"
    assert 0 < execution.cpu_s <= execution.wall_s < 10
    assert 10 * MIB < execution.peak_memory_bytes < 1024 * MIB


async def test_an_error_names_the_programs_own_lines_only(pool: Pool) -> None:
    program = """
from sympy import symbols, Poly
x = symbols("x")
def work(n):
    return Poly(1 / x, x, domain="ZZ").degree() / n
work(0)
"""
    execution = await run(pool, program)
    assert execution.status == "error"
    lines = execution.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert '  File "program.py", line 6, in <module>' in lines
    assert '  File "program.py", line 5, in work' in lines
    assert "site-packages" not in execution.stderr


async def test_a_failed_import_of_a_name_shows_no_host_path(pool: Pool) -> None:
    execution = await run(pool, "from sympy import nothing_of_that_name")
    assert execution.status == "error"
    assert "nothing_of_that_name" in execution.stderr
    assert "site-packages" not in execution.stderr
    assert "/" not in execution.stderr


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("x = (", "SyntaxError"),
        ("if True:\nx = 1", "IndentationError"),
        ("x = '\\ud800'.encode()", "UnicodeEncodeError"),
        ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise SystemExit('no answer')", "SystemExit: no answer"),
        ("class E(BaseException):\n    def __str__(self):\n        return 1 / 0\nraise E", "E"),
        ("print(undefined)", "name 'undefined' is not defined"),
        ("x = 1\0", "null bytes"),
    ],
)
async def test_a_program_that_raises_is_an_error(program: str, name: str, pool: Pool) -> None:
    execution = await run(pool, program)
    assert execution.status == "error"
    assert execution.value is None
    assert name in execution.stderr


async def test_what_was_printed_before_an_error_is_kept(pool: Pool) -> None:
    execution = await run(pool, "print('so far')\n1 / 0")
    assert (execution.status, execution.stdout) == ("error", "so far\n")


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "while True:\n    try:\n        while True: pass\n    except:\n        continue",
        "def f():\n    try:\n        f()\n    finally:\n        f()\nf()",
        "import time\ntime.sleep(1000)",
        "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",
        "x = 9 ** 9 ** 9",
        "sum(iter(int, 1))",
        "while True: print('flood')",
        "def solution():\n    while True: pass",
        "class A:\n    def __str__(self):\n        while True: pass\nanswer = A()",
    ],
)
async def test_a_program_that_does_not_end_is_stopped_in_time(program: str, pool: Pool) -> None:
    execution = await run(pool, program, wall_s=0.3)
    assert execution.status == "timeout"
    assert execution.value is None
    assert 0.3 <= execution.wall_s < 1.5
    assert "0.3 s" in execution.stderr


@pytest.mark.parametrize(
    "program",
    [
        "x = 'a' * 10**10",
        "x = [0] * 10**9",
        "x = []\nwhile True: x.append(bytearray(10**6))",
        "import numpy as np\nnp.ones((10**5, 10**5))",
        "x = 'ab'\nwhile True: x += x",
    ],
)
async def test_a_program_that_needs_too_much_memory_ends_as_such(program: str, pool: Pool) -> None:
    execution = await run(pool, program)
    assert execution.status == "memory"
    assert "memory" in execution.stderr


async def test_a_program_may_use_the_memory_it_was_given(pool: Pool) -> None:
    program = "x = bytearray(200 * 1024**2)\nanswer = len(x)"
    execution = await run(pool, program, memory=256)
    assert execution.status == "ok"
    assert execution.peak_memory_bytes > 200 * MIB


async def test_a_program_may_survive_its_own_memory_error(pool: Pool) -> None:
    program = "try:\n    x = [0] * 10**9\nexcept MemoryError:\n    answer = 'caught'"
    execution = await run(pool, program)
    assert execution.value is not None
    assert execution.value.text == "caught"


async def test_output_is_cut_with_a_mark_where_it_was_cut(pool: Pool) -> None:
    program = "for n in range(10**5): print('é' * 10)\nanswer = 1"
    execution = await pool.execute(program, limits=Limits(wall_s=20, output_bytes=1001))
    assert execution.status == "ok"
    head, _, mark = execution.stdout.rpartition("\n")
    assert mark == f"[{11 * 10**5 - len(head)} more characters were cut]"
    assert 1000 <= len(head.encode()) <= 1001


async def test_the_last_line_of_a_flood_is_still_the_answer(pool: Pool) -> None:
    program = "for n in range(10**5): print('line', n)"
    execution = await pool.execute(program, limits=Limits(wall_s=20, output_bytes=0))
    assert execution.value is not None
    assert execution.value.text == "line 99999"


@pytest.mark.parametrize("program", ["+".join("1" * 20_000), "(" * 5000, "[" * 150 + "]" * 150])
async def test_deeply_nested_text_is_no_crash(program: str, pool: Pool) -> None:
    execution = await run(pool, program)
    assert execution.status in ("ok", "rejected", "error")


async def test_a_program_longer_than_can_be_carried_is_rejected(pool: Pool) -> None:
    execution = await run(pool, "x = 1\n" * 30_000)
    assert execution.status == "rejected"


@pytest.mark.parametrize(
    "limits",
    [
        Limits(wall_s=0),
        Limits(wall_s=61),
        Limits(wall_s=float("nan")),
        Limits(memory_bytes=1),
        Limits(output_bytes=-1),
        Limits(output_bytes=2 * MIB),
    ],
)
async def test_limits_out_of_range_are_the_callers_fault(limits: Limits, pool: Pool) -> None:
    with pytest.raises(ValueError, match="must be"):
        await pool.execute("answer = 1", limits=limits)
