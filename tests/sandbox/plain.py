"""What plain Python makes of programs: each in a process of its own, for a bounded time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import cast

# What one program does to numpy or mpmath is not for the next.
_PLAIN_PYTHON = """
import contextlib, io, json, os, resource, sys, types
import mpmath, numpy, sympy
sys.set_int_max_str_digits(100_000)

def run(program):
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            exec(program, module.__dict__)
    except Exception as error:
        return type(error).__name__, None, output.getvalue()
    answer = getattr(module, "answer", None)
    text = str(answer.tolist() if isinstance(answer, numpy.ndarray) else answer)
    return None, text, output.getvalue()

results = {}
for title, program in json.load(sys.stdin).items():
    source, sink = os.pipe()
    if os.fork() == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
        with open(sink, "w") as stream:
            json.dump(run(program), stream)
        os._exit(0)
    os.close(sink)
    with open(source) as stream:
        results[title] = json.load(stream)
    os.wait()
json.dump(results, sys.stdout)
"""

Outcome = tuple[str | None, str | None, str]
"""The name of what it raised, its answer as text, its output."""


def run_plainly(programs: Mapping[str, str]) -> dict[str, Outcome]:
    done = subprocess.run(
        [sys.executable, "-c", _PLAIN_PYTHON],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        check=True,
        # Sets of texts in the sandbox's order.
        env={"PYTHONHASHSEED": "0"},
    )
    results = cast("dict[str, list[str | None]]", json.loads(done.stdout))
    return {title: cast("Outcome", tuple(result)) for title, result in results.items()}
