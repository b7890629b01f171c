"""The TypeScript client: made from the API as it is, type-checked, and run under Node."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cap_server.app import create_app
from cap_server.settings import Settings
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.server.benches import tools
from tests.server.conftest import listening_on

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "typescript"
PAGES = (ROOT / "docs" / "clients.md", CLIENT / "README.md")
EXAMPLES = CLIENT / "test" / "examples"
NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


def test_the_api_that_it_is_made_from_is_the_servers() -> None:
    written = _of_any_python((CLIENT / "openapi.json").read_text("utf-8"))
    served = _of_any_python(json.dumps(create_app(Settings()).openapi()))
    assert written == served, "run `make openapi`"


def _of_any_python(api: str) -> object:
    """Python 3.13 calls two statuses by newer names."""
    newer = api.replace("Request Entity Too Large", "Content Too Large")
    return json.loads(newer.replace("Unprocessable Entity", "Unprocessable Content"))


@pytest.mark.timeout(600)
def test_it_is_type_checked_and_works_under_node() -> None:
    if shutil.which("npm") is None or _node_version() < 20:
        pytest.skip("no Node 20 or later, with npm: the TypeScript client is not tested")
    _installed()
    with listening_on(tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))) as url:
        _write_examples(url)
        tested = _npm("test", CAP_BASE_URL=url)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "# fail 0" in tested.stdout
    for shown in ("drawn: answer=18", "the answer is 18", "422 question undefined", "answered 18"):
        assert shown in tested.stdout


def _write_examples(url: str) -> None:
    """Put the pages' examples beside the tests, to be type-checked and run with them."""
    shutil.rmtree(EXAMPLES, ignore_errors=True)
    EXAMPLES.mkdir()
    for page in PAGES:
        (example,) = re.findall(
            r"^```ts\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
        example = example.replace('"cap-client"', '"../../src/index.js"')
        example = example.replace("http://127.0.0.1:8000", url)
        (EXAMPLES / f"{page.stem.lower()}.test.ts").write_text(example)


def _node_version() -> int:
    node = shutil.which("node")
    if node is None:
        return 0
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(told.strip().lstrip("v").partition(".")[0])


def _installed() -> None:
    """Exactly what the lock names; what an earlier run installed is kept while the lock is."""
    lock, done = CLIENT / "package-lock.json", CLIENT / "node_modules" / ".installed-for"
    if done.is_file() and done.read_bytes() == lock.read_bytes():
        return
    installed = _npm("ci", "--no-audit", "--no-fund")
    if installed.returncode and any(each in installed.stderr for each in NO_NETWORK):
        pytest.skip("npm reaches no registry: the TypeScript client is not tested")
    assert installed.returncode == 0, installed.stderr
    done.write_bytes(lock.read_bytes())


def _npm(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["npm", *arguments],
        cwd=CLIENT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
