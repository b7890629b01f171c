"""What the policy refuses it refuses with the line, the construct and what to use instead."""

from __future__ import annotations

import pytest

from cap_sandbox import Execution, Limits, Pool

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def run(pool: Pool, program: str) -> Execution:
    return await pool.execute(program, limits=Limits(wall_s=10))


REFUSED = [
    ("x = 1\nimport os", "line 2", "`import os`", "no files"),
    ("import matplotlib.pyplot as plt", "line 1", "`import matplotlib.pyplot`", "compute"),
    ("from scipy.optimize import fsolve", "line 1", "`import scipy.optimize`", "sympy"),
    ("import pandas as pd", "line 1", "`import pandas`", "lists and dicts"),
    ("import made_up", "line 1", "`import made_up`", "use math"),
    ("import sympy.plotting", "line 1", "`import sympy.plotting`", "`sympy` itself"),
    ("\n\nn = int(input('n? '))", "line 3", "`input`", "write the question's numbers"),
    ("answer = eval('1 + 1')", "line 1", "`eval`", "write the expression itself"),
    ("exec('x = 1')", "line 1", "`exec`", "write the code"),
    ("data = open('data.txt').read()", "line 1", "`open`", "write the data into the program"),
    ("globals()['x'] = 1", "line 1", "`globals`", "a dict of your own"),
    ("x = (1).__class__.__bases__", "line 1", "`.__bases__`", "public attributes"),
    ("async def f():\n    pass", "line 1", "`async def`", "`def`"),
    ("try:\n    pass\nexcept* ValueError:\n    pass", "line 1", "`except*`", "`except`"),
    ("import sys\nsys.stdin.read()", "line 2", "`sys.stdin`", "sys.maxsize"),
    ("import numpy as np\n\nnp.loadtxt('x')", "line 3", "`numpy.loadtxt`", "no files"),
    ("import math\nmath.pi = 3", "line 2", "`math`", "use a variable"),
    ("from sympy import sympify\nsympify('open(1)')", "line 2", "`open`", "no files"),
    ("def f():\n    import math\n    return math.__loader__", "line 3", "`.__loader__`", "public"),
]


@pytest.mark.parametrize(("program", "line", "construct", "instead"), REFUSED)
async def test_a_refusal_tells_line_construct_and_what_to_use_instead(
    program: str, line: str, construct: str, instead: str, pool: Pool
) -> None:
    execution = await run(pool, program)
    assert execution.status == "rejected"
    assert execution.stderr.startswith(line)
    assert construct in execution.stderr
    assert instead in execution.stderr


async def test_nothing_runs_of_a_program_whose_text_is_refused(pool: Pool) -> None:
    execution = await run(pool, "print('ran')\nimport os")
    assert (execution.status, execution.stdout) == ("rejected", "")


async def test_every_refused_line_is_told_at_once(pool: Pool) -> None:
    execution = await run(pool, "import os\nx = input()\ny = eval(x)")
    assert [line[:6] for line in execution.stderr.splitlines()] == ["line 1", "line 2", "line 3"]


NAMES_OF_ITS_OWN = [
    "open = 100\nclose = 90\nanswer = open - close",
    "def input():\n    return 10\nanswer = input()",
    "vars = [10]\nanswer = vars[0]",
    "for dir in [10]:\n    answer = dir",
    "answer = (lambda compile: compile)(10)",
    "printed = 10\nanswer = printed",
    "_ = 10\nanswer = _",
    "__total = 10\nanswer = __total",
]


@pytest.mark.parametrize("program", NAMES_OF_ITS_OWN)
async def test_a_program_may_give_its_own_things_any_name(program: str, pool: Pool) -> None:
    execution = await run(pool, program)
    assert execution.value is not None, execution.stderr
    assert execution.value.text == "10"


async def test_hidden_names_show_as_they_were_written(pool: Pool) -> None:
    execution = await run(pool, "print(_missing)")
    assert "name '_missing' is not defined" in execution.stderr


async def test_a_program_sees_neither_modules_nor_names_of_the_sandbox(pool: Pool) -> None:
    execution = await run(pool, "answer = _getattr_")
    assert execution.status == "error"
    assert "NameError" in execution.stderr


async def test_guards_leave_loops_fast(pool: Pool) -> None:
    program = """
import math
total = 0.0
seen = []
for n in range(200_000):
    total += math.sqrt(n)
    seen.append(n)
answer = len(seen)
"""
    execution = await run(pool, program)
    assert execution.status == "ok"
    assert execution.cpu_s < 1
