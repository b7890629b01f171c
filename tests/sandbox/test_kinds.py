"""Which kind of process runs a program is no one's concern but the clock's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cap_sandbox import Execution, Limits, Pool
from cap_sandbox.check import PROBES
from cap_sandbox.kinds import Kind, kind_for
from tests.sandbox.plain import run_plainly

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(wall_s=20)
# A light process has some 20 MiB, a heavy one more than 80, by the kernel's count.
BETWEEN = 50 * 1024**2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    async with Pool(workers=1) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jail() -> AsyncIterator[Pool]:
    async with Pool(workers=1, without=["policy"]) as started:
        yield started


def kind_of(execution: Execution) -> Kind:
    return "heavy" if execution.peak_memory_bytes > BETWEEN else "light"


TEXTS: list[tuple[str, Kind]] = [
    ("answer = 6 * 7", "light"),
    ("import math\nfrom fractions import Fraction\nanswer = Fraction(math.comb(5, 2), 3)", "light"),
    ("from decimal import *\nanswer = Decimal(1) / 8", "light"),
    ("1 / 0", "light"),
    ("import sympy\nanswer = 1", "heavy"),
    ("from sympy.solvers import solve\nanswer = 1", "heavy"),
    ("import numpy as np\nanswer = 1", "heavy"),
    ("from mpmath import *\nanswer = 1", "heavy"),
    ("answer = 1  # numpy would do", "heavy"),
]


@pytest.mark.parametrize(("program", "kind"), TEXTS)
async def test_a_program_runs_in_the_kind_of_process_that_its_text_asks_for(
    program: str, kind: Kind, pool: Pool
) -> None:
    before = pool.handed_over
    execution = await pool.execute(program, limits=LIMITS)
    assert kind_of(execution) == kind_for(program) == kind
    assert pool.handed_over == before


# Python reads other forms of letters as the plain ones.
HIDDEN = [
    "import ｓｙｍｐｙ\nprint('once')\nanswer = ｓｙｍｐｙ.solve('x**2 - 4', 'x')",
    "print('once')\nfrom 𝘯𝘶𝘮𝘱𝘺 import *\nanswer = arange(4)",
    "print('once')\ndef later():\n    from ｍｐｍａｔｈ import mpf\n    return mpf('0.5')\n"
    "answer = later()",
    "for n in range(3):\n    print(n)\n    from ｓｙｍｐｙ.ntheory import isprime\n"
    "answer = isprime(7)",
]
REFUSED = "print('once')\ndef later():\n    import ｍｐｍａｔｈ.libmp"


async def test_what_the_text_hides_ends_as_in_plain_python(pool: Pool) -> None:
    plain = run_plainly({program: program for program in HIDDEN})
    for program in HIDDEN:
        assert kind_for(program) == "light"
        before = pool.handed_over
        execution = await pool.execute(program, limits=LIMITS)
        assert pool.handed_over == before + 1
        assert kind_of(execution) == "heavy"
        raised, answer, output = plain[program]
        assert raised is None
        assert (execution.status, execution.stderr) == ("ok", "")
        assert execution.stdout == output
        assert execution.value is not None
        assert execution.value.text == answer


async def test_what_the_text_hides_is_refused_as_ever(pool: Pool) -> None:
    execution = await pool.execute(REFUSED, limits=LIMITS)
    assert (execution.status, execution.stdout) == ("rejected", "")
    assert execution.stderr.startswith("line 3: `import mpmath.libmp`")


AT_RUN_TIME = [
    "print('once')\nanswer = __import__('sym' + 'py').Integer(7)",
    "import importlib\nprint('once')\nanswer = importlib.import_module('num' 'py').int64(7)",
    "print('once')\ntry:\n    __import__('mp' + 'math')\nexcept BaseException:\n    answer = 0\n"
    "else:\n    answer = 7",
    "print('once')\ndef walk(n):\n    return walk(n - 1) if n else __import__('mp' + 'math')\n"
    "answer = int(walk(300).mpf(7))",
    # Not one of the libraries, and loaded by them alone.
    "print('once')\nimport logging\nanswer = 7",
]


@pytest.mark.parametrize("program", AT_RUN_TIME)
async def test_a_program_that_comes_to_need_more_while_it_runs_begins_again(
    program: str, jail: Pool
) -> None:
    before = jail.handed_over
    execution = await jail.execute(program, limits=LIMITS)
    assert jail.handed_over == before + 1
    assert (execution.status, execution.stderr) == ("ok", "")
    assert (execution.stdout, kind_of(execution)) == ("once\n", "heavy")
    assert execution.value is not None
    assert execution.value.text == "7"


FORGED = """
import os
from cap_sandbox.protocol import HANDED_OVER
os.write(0, HANDED_OVER)
os._exit(0)
"""


async def test_a_process_that_cannot_hand_over_is_not_believed(jail: Pool) -> None:
    before = jail.handed_over
    execution = await jail.execute(FORGED, limits=LIMITS)
    assert jail.handed_over == before + 1
    assert execution.status == "killed"
    assert "no JSON" in execution.stderr
    execution = await jail.execute(f"# sympy{FORGED}", limits=LIMITS)
    assert jail.handed_over == before + 1
    assert execution.status == "killed"


async def test_what_a_program_spent_before_it_was_handed_over_counts(jail: Pool) -> None:
    program = "import time\nbegun = time.time()\nwhile time.time() < begun + 0.3: pass\n"
    execution = await jail.execute(f"{program}__import__('sym' + 'py')", limits=LIMITS)
    assert execution.status == "ok"
    # A third of a second in the light process, and again in the heavy one.
    assert execution.wall_s > 0.6


@pytest.mark.parametrize("probe", PROBES)
async def test_the_probes_of_the_jail_run_in_light_processes(probe: str, jail: Pool) -> None:
    before = jail.handed_over
    await jail.execute(PROBES[probe], limits=LIMITS)
    assert jail.handed_over == before


async def test_programs_of_both_kinds_at_once_come_to_their_own_answers(pool: Pool) -> None:
    for n in range(12):
        text = "from sympy import Integer\nanswer = Integer({n})" if n % 3 else "answer = {n}"
        execution = await pool.execute(text.format(n=n), limits=LIMITS)
        assert execution.value is not None
        assert (execution.value.type, execution.value.text) == ("int", str(n))
