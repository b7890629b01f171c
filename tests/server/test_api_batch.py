"""`POST /v1/refine/batch`: items as they end, each with its error; and clients that come back."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from pydantic import SecretStr

from cap_server.api.batch import BatchItemOut, BatchOut
from cap_server.api.lines import Lines, LinesResponse
from cap_server.app import create_app
from cap_server.domain import Prompt, Sample, Sampling
from cap_server.errors import ModelUnavailableError
from cap_server.settings import Settings
from cap_server.stores import Stores, open_stores
from cap_server.testing import FakeSandbox, ScriptedModel
from cap_server.tools import Tools
from tests.server.benches import tools, until
from tests.server.conftest import listening, served

Scripted = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

URL = "/v1/refine/batch"
ONE, TWO = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))


class GatedModel(ScriptedModel):
    """Writes `answer=18` for each question once its gate is open; `down` are refused.

    Attributes:
        asked: how often, by question.
    """

    def __init__(self, *gates: str, text: str = "answer=18") -> None:
        super().__init__([text])
        self.asked: Counter[str] = Counter()
        self.gates = {question: asyncio.Event() for question in gates}
        self.down: set[str] = set()

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        question = prompt.problem.question
        self.asked[question] += 1
        if question in self.gates:
            try:
                await self.gates[question].wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if question in self.down:
            raise ModelUnavailableError("The model is down.", retry_after_s=1)
        return await super().sample(prompt, sampling=sampling, draw=draw)


def given(model: ScriptedModel) -> Tools:
    return tools(model, FakeSandbox({"answer=18": 18}))


def body(*questions: str, **more: object) -> dict[str, Any]:
    problems = [{"question": each, "custom_id": f"id-{each}"} for each in questions]
    return {"problems": problems, "strategy": "single", **more}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    settings = Settings(database_url=SecretStr(f"sqlite:///{tmp_path / 'kept.db'}"))
    with open_stores(settings) as opened:
        yield opened


@asynccontextmanager
async def asking(
    model: ScriptedModel, settings: Settings | None = None, *, stores: Stores | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that really listens."""
    app = create_app(settings or Settings(), tools=nullcontext(given(model)), stores=stores)
    async with listening(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def some(
    client: httpx.AsyncClient, most: int, asked: dict[str, Any], headers: dict[str, str]
) -> list[dict[str, Any]]:
    """The first `most` lines; then the connection is closed."""
    found: list[dict[str, Any]] = []
    async with client.stream("POST", URL, json=asked, headers=headers) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line:
                found.append(json.loads(line))
            if len(found) == most:
                break
    return found


async def test_items_come_as_they_end_and_the_last_line_adds_them_up() -> None:
    model = GatedModel("slow")
    async with asking(model) as client:
        request = client.stream("POST", URL, json=body("slow", "quick", "quicker"))
        async with request as response:
            assert response.headers["content-type"] == "application/x-ndjson"
            told = response.aiter_lines()
            first = [json.loads(await anext(told)) for _ in range(2)]
            assert {each["custom_id"] for each in first} == {"id-quick", "id-quicker"}
            model.gates["slow"].set()
            *last, end = [json.loads(line) async for line in told if line]
    items = [BatchItemOut.model_validate(each) for each in (*first, *last)]
    assert sorted(each.index for each in items) == [0, 1, 2]
    for each in items:
        assert (each.status, each.error) == (200, None)
        assert each.refinement is not None
        assert each.refinement.answer == "18"
    whole = BatchOut.model_validate(end)
    assert (whole.problems, whole.failed, whole.usage.programs) == (3, 0, 3)
    longest = max(each.refinement.usage.wall_s for each in items if each.refinement)
    assert whole.usage.wall_s > longest


async def test_the_documented_request_is_accepted(scripted: Scripted) -> None:
    page = (Path(__file__).parents[2] / "docs/batches.md").read_text("utf-8")
    documented = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert documented is not None
    async with scripted(40) as client:
        told = lines((await client.post(URL, json=json.loads(documented[1]))).text)
    assert {each["custom_id"] for each in told[:-1]} == {"bread", "sum"}
    assert told[-1]["failed"] == 0


async def test_each_problem_has_its_own_error() -> None:
    model = GatedModel()
    model.down.add("down")
    problems = [
        {"question": "good", "custom_id": "a"},
        {"question": "", "custom_id": "b"},
        {"question": "x", "answr": "1"},
        "none",
        {"question": "down"},
        {"question": "x", "custom_id": 7},
        {"question": "x", "choices": ["only one"]},
    ]
    async with served(given(model)) as client:
        told = lines((await client.post(URL, json=body(problems=problems))).text)
    items = sorted(told[:-1], key=lambda each: each["index"])
    assert [each["status"] for each in items] == [200, 422, 422, 422, 503, 422, 422]
    assert [each["custom_id"] for each in items] == ["a", "b", None, None, None, None, None]
    assert [each["error"] and each["error"]["param"] for each in items] == [
        None, "problems.1.question", "problems.2.answr", "problems.3", None,
        "problems.5.custom_id", "problems.6.choices",
    ]  # fmt: skip
    assert items[4]["error"]["code"] == "model_unavailable"
    assert all((each["refinement"] is None) is (each["status"] != 200) for each in items)
    assert (told[-1]["problems"], told[-1]["failed"]) == (7, 6)


@pytest.mark.parametrize(
    ("asked", "status", "param"),
    [
        ({"problems": []}, 422, "problems"),
        ({"problems": [{"question": "x"}] * 1001}, 422, "problems"),
        ({}, 422, "problems"),
        ({"problems": [{"question": "x"}], "strategy": "wisdom"}, 422, "strategy"),
        ({"problems": [{"question": "x"}], "stream": True}, 422, "stream"),
        ({"problems": [{"question": "x"}], "budget": {"programs": 0}}, 422, "budget.programs"),
    ],
)
async def test_what_is_wrong_for_all_is_the_requests_error(
    scripted: Scripted, asked: dict[str, Any], status: int, param: str
) -> None:
    async with scripted(18) as client:
        response = await client.post(URL, json=asked)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"\xc3\xa9", b"a\tb"])
async def test_an_idempotency_key_is_printable_and_short(scripted: Scripted, key: bytes) -> None:
    async with scripted(18) as client:
        headers = [(b"Idempotency-Key", key)]
        response = await client.post(URL, json=body("x"), headers=headers)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "Idempotency-Key"


async def test_a_batch_may_be_larger_than_one_refinement(scripted: Scripted) -> None:
    settings = Settings(max_body_bytes=1024, batch_max_body_bytes=4096)
    async with scripted(18, settings=settings) as client:
        assert (await client.post("/v1/refine", json={"question": "x" * 2000})).status_code == 413
        assert (await client.post(URL, json=body("x" * 3000))).status_code == 413
        fits = {"problems": [{"question": "x" * 2000}], "strategy": "single"}
        assert (await client.post(URL, json=fits)).status_code == 200


async def test_a_reader_that_leaves_cancels_what_is_under_way() -> None:
    model = GatedModel(*"abcdef")
    async with asking(model, Settings(batch_at_once=3)) as client:
        reading = asyncio.ensure_future(client.post(URL, json=body(*"abcdef")))
        await until(lambda: model.asked.total() == 3)
        reading.cancel()
        await until(lambda: model.cancelled == 3)
        assert (await client.get("/health")).status_code == 200
    assert model.asked.total() == 3


async def test_a_client_that_comes_back_pays_nothing_twice(stores: Stores) -> None:
    model = GatedModel("c", "d")
    key = {"Idempotency-Key": "nightly 1"}
    settings = Settings(batch_at_once=2)
    async with asking(model, settings, stores=stores) as client:
        first = await some(client, 2, body(*"abcdef"), key)
        assert {each["custom_id"] for each in first} == {"id-a", "id-b"}
        await until(lambda: model.asked["c"] and model.asked["d"])
        for gate in model.gates.values():
            gate.set()
        *items, end = await some(client, 7, body(*"abcdef"), key)
        other = await client.post(URL, json=body(*"abcde"), headers=key)
    assert set(model.asked.values()) == {1}
    assert sorted(each["index"] for each in items) == list(range(6))
    assert {each["status"] for each in items} == {200}
    assert (end["problems"], end["failed"], end["usage"]["programs"]) == (6, 0, 6)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    stored = {each["index"]: each for each in items}
    assert all(stored[each["index"]] == each for each in first)


async def test_nothing_is_begun_after_the_reader_left_and_nothing_under_way_is_lost(
    stores: Stores,
) -> None:
    model = GatedModel(*"abcd")
    key = {"Idempotency-Key": "k"}
    async with asking(model, Settings(batch_at_once=2), stores=stores) as client:
        reading = asyncio.ensure_future(client.post(URL, json=body(*"abcd"), headers=key))
        await until(lambda: model.asked.total() == 2)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert (await client.get("/health")).status_code == 200
        for gate in model.gates.values():
            gate.set()
        # Either the server has seen the reader leave, and then begins nothing more, or it has not.
        items = await some(client, 5, body(*"abcd"), key)
    assert (set(model.asked.values()), model.cancelled) == ({1}, 0)
    assert items[-1]["failed"] == 0


async def test_while_one_replica_works_another_says_when_to_ask_again(stores: Stores) -> None:
    model, idle = GatedModel("a"), GatedModel()
    key = {"Idempotency-Key": "k"}
    async with asking(model, stores=stores) as one, asking(idle, stores=stores) as two:
        reading = asyncio.ensure_future(one.post(URL, json=body("a", "b"), headers=key))
        await until(lambda: model.asked.total() == 2)
        refused = await two.post(URL, json=body("a", "b"), headers=key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "batch_in_progress")
        assert 1 <= int(refused.headers["Retry-After"]) <= 15
        model.gates["a"].set()
        assert len(lines((await reading).text)) == 3
        async with asyncio.timeout(30):
            while (again := await two.post(URL, json=body("a", "b"), headers=key)).is_error:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert len(lines(again.text)) == 3
    assert idle.asked.total() == 0


async def test_what_failed_upstream_is_tried_again_and_what_was_malformed_is_not(
    stores: Stores,
) -> None:
    model = GatedModel()
    model.down.add("b")
    asked = {"problems": [{"question": "a"}, {"question": "b"}, {"question": ""}]}
    async with served(given(model), stores=stores) as client:
        for failed in (2, 1):
            key = {"Idempotency-Key": "k"}
            told = lines((await client.post(URL, json=asked, headers=key)).text)
            assert (len(told), told[-1]["failed"]) == (4, failed)
            model.down.clear()
    assert model.asked["a"] < model.asked["b"]


async def test_a_batch_belongs_to_its_key(stores: Stores) -> None:
    model = GatedModel()
    settings = Settings(api_keys=SecretStr("one,two"))
    async with served(given(model), settings, stores=stores) as client:
        for headers in (ONE, TWO):
            key = {"Idempotency-Key": "k", **headers}
            assert len(lines((await client.post(URL, json=body("a"), headers=key)).text)) == 2
        assert model.asked["a"] == 2
        assert (await client.post(URL, json=body("a"))).status_code == 401


async def test_problems_keep_to_the_limits_of_their_key(scripted: Scripted) -> None:
    running = most = 0

    class Counting(ScriptedModel):
        async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1
            return await super().sample(prompt, sampling=sampling, draw=draw)

    settings = Settings(api_keys=SecretStr("one"), key_at_once=2, batch_at_once=8)
    async with served(given(Counting(["answer=18"])), settings) as client:
        response = await client.post(URL, json=body(*"abcdefghij"), headers=ONE)
    assert lines(response.text)[-1]["failed"] == 0
    assert most == 2


async def test_a_reader_that_does_not_read_holds_up_the_batch() -> None:
    model = GatedModel(text="answer=18#" + "x" * 30_000)
    asked = json.dumps(body(*map(str, range(400)), include=["candidates"])).encode()
    async with asking(model, Settings(batch_at_once=4)) as client:
        address = (client.base_url.host, client.base_url.port)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(address)
            head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            slow.sendall(f"{head}Content-Length: {len(asked)}\r\n\r\n".encode() + asked)
            await until(lambda: model.asked.total() >= 8)
            seen, quiet = 0, 0
            while quiet < 40:  # until nothing more is begun: the buffers between us are full
                quiet = quiet + 1 if model.asked.total() == seen else 0
                seen = model.asked.total()
                await asyncio.sleep(0.01)
            assert seen < 400


async def test_silence_is_broken_by_blank_lines_and_leaving_is_noticed_in_it() -> None:
    left, go = asyncio.Event(), asyncio.Event()
    app = FastAPI()

    async def told() -> Lines:
        yield b"1\n"
        await go.wait()
        yield b"2\n"

    async def leave() -> None:
        left.set()

    @app.get("/")
    async def lines_() -> Response:
        return LinesResponse(told(), left=leave, heartbeat_s=0.01)

    async with listening(app) as url, httpx.AsyncClient(base_url=url) as client:
        async with client.stream("GET", "/") as response:
            chunks = response.aiter_lines()
            assert [await anext(chunks) for _ in range(4)] == ["1", "", "", ""]
            go.set()
            assert [line async for line in chunks if line] == ["2"]
        await until(left.is_set)
        left.clear()
        go.clear()
        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_lines()) == "1"
        await until(left.is_set)
