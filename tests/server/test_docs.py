"""The examples of README and docs, executed."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cap_sandbox import Pool
from cap_server.adapters.local_sandbox import LocalSandbox
from cap_server.adapters.math_verify import MathVerify
from cap_server.api.refine import RefineIn
from cap_server.cli import cli
from cap_server.domain import Answer, Limits
from cap_server.errors import CapError
from cap_server.example import EXAMPLE
from cap_server.prompts import chinese, english
from cap_server.prompts.examples import Example
from cap_server.strategies import STRATEGIES
from cap_server.testing import ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import served

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
API = (ROOT / "docs/api.md").read_text("utf-8")

Scripted = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


def test_the_readmes_request_is_the_one_that_cap_up_prints_and_the_tests_run() -> None:
    assert EXAMPLE.curl("http://127.0.0.1:8000") in README


def test_the_readmes_commands_are_commands_of_the_program() -> None:
    lines = README.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line.partition(".venv/bin/cap ")[2]) for line in lines]
    used = {command[0] for command in commands if command}
    assert {"refine", "serve"} <= used
    for name in used:
        assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)$", README, re.MULTILINE))
def test_the_readmes_targets_are_in_the_makefile(target: str) -> None:
    assert f"\n{target}:" in (ROOT / "Makefile").read_text("utf-8")


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_the_api_page_tells_every_status_that_there_is_and_no_other() -> None:
    table = API.partition("| status | when |")[2]
    told = {
        int(status)
        for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M)
        for status in row.split(",")
    }
    faults = {each.status for each in _descendants(CapError)} | {404, 405, 500}
    assert told == faults - {499}, "whom 499 is for has left"


def _descendants(of: type[CapError]) -> set[type[CapError]]:
    below = {each for child in of.__subclasses__() for each in _descendants(child)}
    return {of, *below}


def test_the_api_pages_defaults_are_those_of_the_request() -> None:
    asked = RefineIn(question="?")
    unset = dict(re.findall(r"^\| `([\w.]+)` \|.*\| ([^|]+) \|$", API, re.M))
    assert unset["strategy"] == f"`{asked.strategy.name}`"
    assert unset["budget"] == f"{asked.budget.deadline_s:.0f} s"
    assert unset["limits"] == f"{asked.limits.wall_s:.0f} s, {asked.limits.memory_bytes >> 20} MiB"
    assert (asked.sampling.temperature, asked.sampling.max_tokens, asked.sampling.seed) == (
        None,
    ) * 3
    assert (asked.include, asked.stream) == ([], False)


@pytest.mark.parametrize("page", ["docs/threat-model.md", "SECURITY.md"])
def test_every_file_that_is_to_check_something_is_there(page: str) -> None:
    named = re.findall(r"`((?:tests|deploy)/[\w./-]+)`", (ROOT / page).read_text("utf-8"))
    assert named or page == "SECURITY.md"
    assert all((ROOT / each).exists() for each in named)


@pytest.mark.parametrize("package", ["server/cap_server", "sandbox/cap_sandbox"])
def test_nothing_is_unpickled_and_no_shell_is_called(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            assert not _imported(node) & _UNPICKLERS, file
            if isinstance(node, ast.Call):
                assert not any(each.arg == "shell" for each in node.keywords), file
                called = ast.unparse(node.func)
                assert called not in ("os.system", "os.popen", "asyncio.create_subprocess_shell")


_UNPICKLERS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml"}


def _imported(node: ast.AST) -> set[str | None]:
    if isinstance(node, ast.Import):
        return {each.name for each in node.names}
    return {node.module} if isinstance(node, ast.ImportFrom) else set()


async def test_the_api_pages_requests_are_accepted(scripted: Scripted) -> None:
    refine, execute = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", API, re.S))
    async with scripted(40) as client:
        response = await client.post("/v1/refine", json=refine)
    assert response.json()["decision"] == "corrected"
    async with Pool(workers=1) as pool:
        with_pool = tools(ScriptedModel([""]), LocalSandbox(pool))
        async with served(with_pool) as client:
            value = (await client.post("/v1/execute", json=execute)).json()["value"]
    assert value == {"type": "fraction", "text": "1/2"}


def test_the_strategies_page_lists_every_strategy() -> None:
    page = (ROOT / "docs/strategies.md").read_text("utf-8")
    assert all(f"| `{name}`" in page for name in STRATEGIES)


@pytest.mark.parametrize(
    ("example", "answer"),
    [
        *zip(english.EXAMPLES, ("65", "246", "18"), strict=True),
        *zip(chinese.EXAMPLES, ("141", "475.2", "8"), strict=True),
    ],
)
async def test_the_few_shot_examples_run_and_are_right(example: Example, answer: str) -> None:
    async with Pool(workers=1) as pool, MathVerify() as equality:
        execution = await pool.execute(example.program, limits=Limits())
        assert execution.status == "ok", execution.stderr
        assert execution.value is not None
        assert await equality.same(Answer(execution.value.text), Answer(answer))
