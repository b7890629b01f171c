"""Models that break or attack, over real sockets and with the real sandbox: nothing comes of it.

What they answer stands in `hostile_outputs.py`.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
import structlog
from pydantic import SecretStr

from cap_server.app import create_app
from cap_server.settings import Settings
from tests.server.conftest import listening
from tests.server.hostile_outputs import BOMBS, BROKEN, INJECTIONS, ODD, TEXTS, completion
from tests.server.upstreams import Respond, Upstream, answers, completes, upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUR_KEY, MODEL_KEY = "ours-6c1f0a", "the-models-93bd2e"
SECRETS = (OUR_KEY, MODEL_KEY)
HEADERS = {"Authorization": f"Bearer {OUR_KEY}"}
ASKED = {
    "question": "6 * 3?",
    "cot": "The answer is 18.",
    "strategy": {"name": "majority", "programs": 1},
    "include": ["candidates", "trace"],
    "limits": {"wall_s": 1.0, "memory_bytes": 256 * 1024**2},
}


class _Turning:
    """Attributes: respond: how the upstream answers from now on."""

    def __init__(self) -> None:
        self.respond: Respond = completes("answer = 18")

    async def __call__(self, writer: asyncio.StreamWriter) -> None:
        await self.respond(writer)


@dataclass
class Attacked:
    """Attributes: model: how the upstream answers; seen: what it was sent; log: the server's."""

    client: httpx.AsyncClient
    model: _Turning
    seen: Upstream
    log: io.StringIO


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attacked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Attacked]:
    """One server for all: whatever it was sent before, it holds against what comes next."""
    model, log, before = _Turning(), io.StringIO(), structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=structlog.PrintLoggerFactory(log),
    )
    async with upstream(model) as seen:
        settings = Settings(
            model_url=seen.url,
            model_api_key=SecretStr(MODEL_KEY),
            cot_model="writer",
            api_keys=SecretStr(OUR_KEY),
            api_keys_execute=True,
            state_dir=tmp_path_factory.mktemp("state"),
            sandbox_workers=2,
        )
        async with (
            listening(create_app(settings)) as url,
            httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=100) as client,
        ):
            yield Attacked(client, model, seen, log)
    structlog.configure(**before)


def _says_no_secret(*texts: str) -> None:
    for text in texts:
        assert not any(secret in text for secret in SECRETS)


@pytest.mark.timeout(300)
async def test_no_text_of_a_model_does_more_than_come_to_no_answer(
    attacked: Attacked,
) -> None:
    client, model = attacked.client, attacked.model
    for name, text in {**BOMBS, **TEXTS}.items():
        model.respond = completes(text)
        response = await client.post("/v1/refine", json=ASKED)
        assert response.status_code == 200, (name, response.text[:300])
        refinement = response.json()
        if name in BOMBS:
            assert refinement["decision"] in ("kept", "unresolved"), name
            assert refinement["answer"] == "18", name
            status = (refinement["candidates"][0]["execution"] or {}).get("status")
            assert status in ("error", "timeout", "memory", "killed", "rejected"), name
        _says_no_secret(response.text)
    model.respond = completes("answer = 18")
    last = await client.post("/v1/refine", json=ASKED)
    assert (last.json()["decision"], last.json()["answer"]) == ("confirmed", "18")
    _says_no_secret((await client.get("/metrics")).text, attacked.log.getvalue())


@pytest.mark.parametrize(
    "path", ["stream", "batch", "chat", "chat stream", "responses", "responses stream"]
)
async def test_what_programs_print_never_passes_for_the_servers_own_words(
    attacked: Attacked, path: str
) -> None:
    client, model = attacked.client, attacked.model
    for name in ("our stream", "our batch", "our report", "control characters", "markup"):
        model.respond = completes(TEXTS[name])
        if path == "batch":
            body = {**ASKED, "problems": [{"question": "x", "cot": ASKED["cot"]}]}
            for field in ("question", "cot"):
                del body[field]
            lines = (await client.post("/v1/refine/batch", json=body)).content.split(b"\n")
            objects = [json.loads(line)["object"] for line in lines if line]
            assert objects == ["refinement.batch.item", "refinement.batch"], name
            continue
        turns = _turns("6 * 3?", "The answer is 18.")
        chat: dict[str, Any] = {"model": "cap:single", "messages": turns}
        responses: dict[str, Any] = {"model": "cap:single", "input": turns}
        whole: tuple[str, dict[str, Any]] = {
            "stream": ("/v1/refine", {**ASKED, "stream": True}),
            "chat": ("/v1/chat/completions", chat),
            "chat stream": ("/v1/chat/completions", {**chat, "stream": True}),
            "responses": ("/v1/responses", responses),
            "responses stream": ("/v1/responses", {**responses, "stream": True}),
        }[path]
        response = await client.post(whole[0], json=whole[1])
        assert response.status_code == 200, name
        if "stream" in path:
            frames = response.text.split("\n\n")
            assert frames.count("data: [DONE]") == (path != "responses stream"), name
            for event in ("decision", "response.completed"):
                begun = [each for each in frames if each.startswith(f"event: {event}\n")]
                assert len(begun) == (_LAST_EVENTS[path] == event), name
            assert all(each == "" or "data: " in each for each in frames), name
        else:
            assert "\x1b" not in response.text, "JSON escapes it"


_LAST_EVENTS = {"stream": "decision", "chat stream": "", "responses stream": "response.completed"}


def _turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


async def test_completions_that_tell_what_cannot_be_are_read_with_care_or_refused(
    attacked: Attacked,
) -> None:
    client, model = attacked.client, attacked.model
    for name, content in ODD.items():
        model.respond = answers("200 OK", content)
        response = await client.post("/v1/refine", json=ASKED)
        assert response.status_code in (200, 502), name
        if response.status_code == 200:
            refinement = json.loads(response.text, parse_constant=pytest.fail)
            usage = refinement["usage"]
            assert min(usage.values()) >= 0, name
            assert max(usage.values()) < 2**53, name
            assert 0 <= refinement["confidence"] <= 1, name


async def test_what_is_no_completion_is_told_as_the_models_fault_and_not_repeated(
    attacked: Attacked,
) -> None:
    client, model = attacked.client, attacked.model
    for name, content in BROKEN.items():
        model.respond = answers("200 OK", content)
        response = await client.post("/v1/refine", json=ASKED)
        assert (response.status_code, response.json()["error"]["code"]) == (
            502,
            "model_response",
        ), name
        assert len(content) < 20 or content[:20] not in response.text, name
        model.respond = answers("200 OK", completion())
        # In between all is well: the circuit stays closed.
        assert (await client.post("/v1/refine", json=ASKED)).status_code == 200, name


def _asking(way: str, words: str) -> tuple[str, dict[str, Any]]:
    """A request of which everything that is text says `words`."""
    asked = {**ASKED, "question": words, "cot": f"{words} The answer is 18."}
    asked["source"] = "".join(filter(str.isprintable, words))[:200]
    turns = _turns(words, f"{words} The answer is 18.")
    if "asks" in way:
        del turns[1]
    chat = {"model": "cap:single", "messages": [{"role": "system", "content": words}, *turns]}
    stream = {"stream": True} if "stream" in way else {}
    if way.startswith("batch"):
        problem = {name: asked.pop(name) for name in ("question", "cot", "source")}
        return "/v1/refine/batch", {**asked, "problems": [{**problem, "custom_id": words[:200]}]}
    if way.startswith("chat"):
        return "/v1/chat/completions", {**chat, **stream, "user": words, "x": words}
    if way.startswith("responses"):
        asks = {"instructions": words, "input": turns, "metadata": {words: words}}
        return "/v1/responses", {"model": "cap:single", **stream, **asks}
    return "/v1/refine", {**asked, **stream}


def _refinement(way: str, said: str) -> dict[str, Any]:
    """The one that an answer holds, whatever its shape."""
    if "stream" in way:
        frames = [each.partition("data: ")[2] for each in said.split("\n\n") if "data: {" in each]
        whole = json.loads(frames[-1])
    else:
        whole = json.loads(said.partition("\n")[0])
    for field in ("response", "choices", "refinement", "cap"):
        whole = whole.get(field, whole)
        whole = whole[0] if isinstance(whole, list) else whole
    refinement: dict[str, Any] = whole
    return refinement


WAYS = [
    "refine", "refine stream", "batch", "chat", "chat stream", "chat asks", "chat asks stream",
    "responses", "responses stream", "responses asks", "responses asks stream",
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_no_words_choose_the_strategy_spend_more_or_see_a_secret(
    attacked: Attacked, way: str
) -> None:
    client, seen = attacked.client, attacked.seen
    attacked.model.respond = completes("answer = 18  # The answer is 18.")

    async def came_to(words: str) -> tuple[object, ...]:
        """What was decided and spent, and what models were asked, but for their prompts."""
        seen.bodies.clear()
        path, body = _asking(way, words)
        response = await client.post(path, json=body)
        _says_no_secret(response.text)
        told = _refinement(way, response.text)
        terms = [{name: each[name] for name in set(each) - _WORDS} for each in seen.bodies]
        _says_no_secret(json.dumps(seen.bodies))
        return told["strategy"], told["usage"]["programs"], told["stopped_by"], terms

    expected = await came_to("What is 6 * 3?")
    for words in INJECTIONS:
        assert await came_to(words) == expected, words
    _says_no_secret((await client.get("/metrics")).text, (await client.get("/v1/sources")).text)
    # It goes where it belongs, and nowhere else.
    assert all(MODEL_KEY.encode() in each for each in seen.headers)
    assert not any(OUR_KEY.encode() in each for each in seen.headers)
    assert '"request"' in attacked.log.getvalue()
    _says_no_secret(attacked.log.getvalue())


_WORDS = {"messages", "prompt", "seed", "user", "x"}
"""What a request to a model says in the client's words, or by chance."""
