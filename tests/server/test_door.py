"""Who comes in: 401, 403 and 429 over HTTP, and `cap keys` while servers run."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from cap_server.cli import cli
from cap_server.keys import digest_of
from cap_server.settings import Settings
from cap_server.stores import Stores, open_stores
from cap_server.testing import FakeSandbox, ScriptedModel
from tests.ports import free_port
from tests.server.benches import tools, until
from tests.server.conftest import listening_on, served

Scripted = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

REFINE = {"question": "6 * 3?", "strategy": "single"}
PROGRAM = {"program": "answer=18"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty CAP_STATE_DIR, for `cap keys` and for `Settings()`."""
    monkeypatch.setenv("CAP_STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def stores(place: Path) -> Iterator[Stores]:
    with open_stores(Settings()) as opened:
        yield opened


def cap_keys(*arguments: str, stdin: str | None = None) -> str:
    result = CliRunner().invoke(cli, ["keys", *arguments], input=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


async def cap_keys_beside(*arguments: str) -> str:
    """The same where a loop runs: the command has one of its own."""
    return await asyncio.to_thread(cap_keys, *arguments)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def test_keys_made_and_revoked_count_in_a_running_server_within_seconds(
    stores: Stores,
) -> None:
    given = tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))
    with listening_on(given, stores=stores) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/v1/models")).status_code == 200  # no key was made yet
            secret = (await cap_keys_beside("create", "one")).strip()

            async def status(headers: dict[str, str]) -> int:
                return (await client.post("/v1/refine", json=REFINE, headers=headers)).status_code

            async def becomes(code: int, headers: dict[str, str]) -> None:
                async with asyncio.timeout(30):
                    while await status(headers) != code:  # noqa: ASYNC110  # no event
                        await asyncio.sleep(0.05)

            await becomes(401, {})
            assert await status(bearer(secret)) == 200
            assert await status(bearer(secret + "x")) == 401
            await cap_keys_beside("revoke", "one")
            await becomes(401, bearer(secret))
            assert await status({}) == 401  # the last key's end opens nothing


async def test_execute_needs_its_right(stores: Stores) -> None:
    plain = (await cap_keys_beside("create", "plain")).strip()
    may = (await cap_keys_beside("create", "may", "--right", "execute")).strip()
    given = tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))
    async with served(given, stores=stores) as client:
        for secret, status in ((plain, 403), (may, 200), ("wrong", 401)):
            response = await client.post("/v1/execute", json=PROGRAM, headers=bearer(secret))
            assert response.status_code == status
            refined = await client.post("/v1/refine", json=REFINE, headers=bearer(secret))
            assert refined.status_code == (401 if secret == "wrong" else 200)
        refused = await client.post("/v1/execute", json=PROGRAM, headers=bearer(plain))
    assert refused.json()["error"]["code"] == "forbidden"
    assert "execute" in refused.json()["error"]["message"]


async def test_keys_of_the_settings_refine_and_run_programs_where_the_operator_says_so(
    scripted: Scripted,
) -> None:
    hashed = f"sha256:{digest_of('two')}"
    for execute in (False, True):
        settings = Settings(api_keys=SecretStr(f"one,{hashed}"), api_keys_execute=execute)
        async with scripted(18, settings=settings) as client:
            for secret in ("one", "two"):
                refined = await client.post("/v1/refine", json=REFINE, headers=bearer(secret))
                ran = await client.post("/v1/execute", json=PROGRAM, headers=bearer(secret))
                assert (refined.status_code, ran.status_code) == (200, 200 if execute else 403)
            assert (await client.get("/v1/models", headers=bearer(hashed))).status_code == 401


@pytest.mark.parametrize(
    ("settings", "refine", "execute"),
    [
        ({"host": "127.0.0.1"}, 200, 200),
        ({"host": "0.0.0.0", "open": True}, 200, 403),
        ({"host": "0.0.0.0"}, 401, 401),
    ],
)
async def test_without_keys_it_depends_on_who_can_reach_the_server(
    scripted: Scripted, settings: dict[str, object], refine: int, execute: int
) -> None:
    async with scripted(18, settings=Settings.model_validate(settings)) as client:
        assert (await client.post("/v1/refine", json=REFINE)).status_code == refine
        assert (await client.post("/v1/execute", json=PROGRAM)).status_code == execute
        assert (await client.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True), ("localhost:8000", True), ("LOCALHOST", True), ("127.0.0.1:1", True),
        ("127.9.9.9", True), ("[::1]:8000", True), ("[::ffff:127.0.0.1]", True),
        ("rebound.example", False), ("rebound.example:8000", False), ("localhost.example", False),
        ("127.0.0.1.example", False), ("example@localhost", True), ("localhost@example", False),
        ("192.0.2.1", False), ("0.0.0.0", False), ("[::1", False), ("::1", False), ("", False),
        ("localhost:x", True), ("localhost/.example", True), ("example#localhost", False),
    ],
)  # fmt: skip
async def test_without_keys_a_name_that_was_led_here_is_none_of_this_machines(
    scripted: Scripted, *, host: str, here: bool
) -> None:
    # A page in the operator's browser whose own name leads to loopback (DNS rebinding).
    named = {"Host": host}
    async with scripted(18) as client:
        refined = await client.post("/v1/refine", json=REFINE, headers=named)
        assert refined.status_code == (200 if here else 403)
        assert here or "CAP_OPEN" in refined.json()["error"]["message"]
        assert (await client.get("/health", headers=named)).status_code == 200
    async with scripted(18, settings=Settings(open=True)) as client:
        refined = await client.post("/v1/refine", json=REFINE, headers=named)
        ran = await client.post("/v1/execute", json=PROGRAM, headers=named)
        assert (refined.status_code, ran.status_code) == (200, 200 if here else 403)
    async with scripted(18, settings=Settings(api_keys=SecretStr("a-key"))) as client:
        refined = await client.post("/v1/refine", json=REFINE, headers=named | bearer("a-key"))
        assert refined.status_code == 200


async def test_over_its_rate_a_key_is_told_when_to_come_back(stores: Stores) -> None:
    slow = (await cap_keys_beside("create", "slow", "--per-minute", "2")).strip()
    fast = (await cap_keys_beside("create", "fast")).strip()
    given = tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))
    async with served(given, stores=stores) as client:
        statuses = [
            (await client.get("/v1/models", headers=bearer(slow))).status_code for _ in range(3)
        ]
        refused = await client.get("/v1/models", headers=bearer(slow))
        assert (await client.get("/v1/models", headers=bearer(fast))).status_code == 200
    assert statuses == [200, 200, 429]
    assert 0 < int(refused.headers["Retry-After"]) <= 30
    assert refused.json()["error"]["type"] == "rate_limit_error"


async def test_requests_of_a_key_at_once_are_bounded_over_sockets(stores: Stores) -> None:
    secret = (await cap_keys_beside("create", "two", "--at-once", "2")).strip()
    model = ScriptedModel(["answer=18"], delay_s=60)
    with listening_on(tools(model, FakeSandbox({})), stores=stores) as url:
        async with httpx.AsyncClient(base_url=url, headers=bearer(secret), timeout=60) as client:
            asking = [
                asyncio.ensure_future(client.post("/v1/refine", json=REFINE)) for _ in range(2)
            ]
            await until(lambda: len(model.prompts) == 2)
            refused = await client.post("/v1/refine", json=REFINE)
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
            assert refused.json()["error"]["code"] == "too_many_at_once"
            for each in asking:
                each.cancel()
            await until(lambda: model.cancelled == 2)
            async with asyncio.timeout(30):
                while (await client.get("/v1/models")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


async def test_a_stranger_learns_that_before_his_body_is_read(scripted: Scripted) -> None:
    async def endless() -> object:
        raise AssertionError("the body was read")
        yield b""

    async with scripted(18, settings=Settings(api_keys=SecretStr("one"))) as client:
        response = await client.post("/v1/refine", content=endless())  # type: ignore[arg-type]
    assert response.status_code == 401


async def test_while_the_database_does_not_answer_nobody_is_let_in_by_mistake(
    tmp_path: Path,
) -> None:
    file = tmp_path / "trust.db"
    file.write_bytes(b"no database" * 1000)
    settings = Settings(database_url=SecretStr(f"sqlite:///{file}"), api_keys=SecretStr("one"))
    given = tools(ScriptedModel(["answer=18"]), FakeSandbox({"answer=18": 18}))
    with open_stores(settings) as stores:
        async with served(given, settings, stores=stores) as client:
            assert (await client.get("/v1/models", headers=bearer("one"))).status_code == 200
            unsure = await client.get("/v1/models", headers=bearer("two"))
        without = settings.model_copy(update={"api_keys": None})
        async with served(given, without, stores=stores) as client:
            closed = await client.get("/v1/models")
    for response in (unsure, closed):
        assert (response.status_code, response.headers["Retry-After"]) == (503, "2")


def test_a_secret_is_told_once_and_stored_nowhere(place: Path) -> None:
    secret = cap_keys("create", "one", "--right", "execute", "--per-minute", "60").strip()
    assert secret.startswith("cap_")
    listed = cap_keys("list") + cap_keys("list", "--json")
    assert "one" in listed
    assert secret not in listed
    assert secret.encode() not in (place / "trust.db").read_bytes()
    only = json.loads(cap_keys("list", "--json"))
    assert [(each["rights"], each["per_minute"], each["at_once"]) for each in only] == [
        (["execute"], 60, None)
    ]
    assert cap_keys("hash", stdin=f"{secret}\n") == f"sha256:{digest_of(secret)}\n"
    made = json.loads(cap_keys("create", "two", "--json"))
    assert (made["name"], made["secret"][:4]) == ("two", "cap_")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["create", "one", "--right", "fly"], 2, "execute"),
        (["create", ""], 2, "printable"),
        (["create", "key_1"], 2, "key_"),
        (["create", "taken"], 1, "already"),
        (["revoke", "nobody"], 1, "nobody"),
        (["hash"], 2, "stdin"),
    ],
)
def test_wrong_usage_is_told(place: Path, arguments: list[str], exit_code: int, says: str) -> None:
    cap_keys("create", "taken")
    result = CliRunner().invoke(cli, ["keys", *arguments])
    assert (result.exit_code, says in result.output) == (exit_code, True)


def test_the_documented_commands_run_in_their_order(place: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/keys.md").read_text("utf-8")
    commands = re.findall(r"^cap keys (.*)$", page, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        cap_keys(*command.split())


def test_a_server_beyond_this_machine_does_not_start_unguarded(tmp_path: Path) -> None:
    cap = Path(sys.prefix) / "bin" / "cap"
    environment = {name: value for name, value in os.environ.items() if name[:4] != "CAP_"}
    ended = subprocess.run(
        [cap, "serve", "--host", "0.0.0.0", "--port", str(free_port())],
        env=environment | {"CAP_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    for named in ("without API keys", "cap keys create", "CAP_API_KEYS", "CAP_OPEN=1", "--open"):
        assert named in ended.stderr
