"""Programs as language models write them end as they do in plain Python."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import cast

import pytest

from cap_sandbox import Limits, Pool, Value
from tests.sandbox.sections import read_sections

pytestmark = pytest.mark.asyncio(loop_scope="session")

CORPUS = read_sections("corpus.txt")

# Each program in a process of its own: what one does to numpy or mpmath is not for the next.
_PLAIN_PYTHON = """
import contextlib, io, json, os, sys, types
import mpmath, numpy, sympy
sys.set_int_max_str_digits(100_000)

def run(program):
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        exec(program, module.__dict__)
    answer = getattr(module, "answer", None)
    return str(answer.tolist() if isinstance(answer, numpy.ndarray) else answer), output.getvalue()

results = {}
for title, program in json.load(sys.stdin).items():
    source, sink = os.pipe()
    if os.fork() == 0:
        with open(sink, "w") as stream:
            json.dump(run(program), stream)
        os._exit(0)
    os.close(sink)
    with open(source) as stream:
        results[title] = json.load(stream)
json.dump(results, sys.stdout)
"""


@pytest.fixture(scope="module")
def plain() -> dict[str, tuple[str, str]]:
    """What plain Python makes of the corpus: each program's answer as text, and its output."""
    command = [sys.executable, "-c", _PLAIN_PYTHON]
    done = subprocess.run(
        command, input=json.dumps(CORPUS), capture_output=True, text=True, check=True
    )
    return cast("dict[str, tuple[str, str]]", json.loads(done.stdout))


@pytest.mark.parametrize("title", CORPUS)
async def test_a_program_that(title: str, pool: Pool, plain: dict[str, tuple[str, str]]) -> None:
    execution = await pool.execute(CORPUS[title], limits=Limits(wall_s=20))
    answer, output = plain[title]
    assert (execution.status, execution.stderr) == ("ok", "")
    assert execution.stdout == output
    if answer != "None":
        assert execution.value is not None
        assert _as_str(execution.value) == answer


def _as_str(value: Value) -> str:
    """Write `value` as `str` does: only complex numbers stand in brackets there."""
    return f"({value.text})" if value.type == "complex" else value.text
