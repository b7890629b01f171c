"""The examples of the clients' pages, executed against a server that really listens."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

import cap_client
from cap_server.cli import cli
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.client.test_schema import modelled
from tests.server.benches import tools
from tests.server.conftest import listening_with_batches

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text("utf-8")
README = (ROOT / "clients" / "python" / "README.md").read_text("utf-8")


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


EXAMPLES = dict(
    zip(
        ["refine", "async", "stream", "batch", "errors", "readme"],
        [*blocks("python", PAGE), *blocks("python", README)],
        strict=True,
    )
)

SHOWN = {
    "refine": "corrected 50 -> 40\nanswer=40\n",
    "async": "['40', '40']\n",
    "stream": "the answer is 40\n",
    "batch": "2 programs\n",
    "errors": "422 invalid_value strategy strategy: the name must be one of adaptive",
    "readme": "corrected 40\nanswer=40\n",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_python_example_does_what_the_page_says(name: str) -> None:
    given = tools(ScriptedModel(["answer=40"]), FakeSandbox({"answer=40": 40}))
    with listening_with_batches(given) as url:
        program = EXAMPLES[name].replace("http://127.0.0.1:8000", url)
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env={"CAP_BASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert SHOWN[name] in ran.stdout


def test_every_command_is_one_and_every_other_is_told() -> None:
    used = {shlex.split(line)[0] for line in re.findall(r"(?:^|\| )cap ([\w-].*)$", PAGE, re.M)}
    used |= set(re.findall(r"`cap (\w+)", PAGE))
    assert {"refine", "chat", "strategies", "eval", "openapi"} <= used
    for name in used:
        assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0


def test_every_option_exception_and_field_is_told() -> None:
    told = set(re.findall(r"[`\[{\"(](\w+)", PAGE))
    options = {
        name
        for of in (
            cap_client.RefineOptions,
            cap_client.Sampling,
            cap_client.Budget,
            cap_client.Limits,
        )
        for name in TypeAdapter(modelled(of)).json_schema()["properties"]
    }
    errors = {name for name in cap_client.__all__ if name.endswith("Error")}
    fields = set(cap_client.Retries.__slots__)
    methods = {
        name
        for name in vars(cap_client.Client)
        if not name.startswith("_") and name not in ("base_url", "close")
    }
    assert options | errors | fields | methods <= told
