"""The examples of `docs/sandbox.md` run as they stand."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "sandbox.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
async def test_the_example_runs(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = compile(example, str(DOCS), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, {})
    if inspect.isawaitable(running):
        await running
    assert capsys.readouterr().out.endswith("ok 42\n")
