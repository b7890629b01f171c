"""Models that break or attack, over real sockets and with the real sandbox: nothing comes of it.

What they answer stands in `hostile_outputs.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
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
    """Attributes: model: how the upstream answers; seen: what it was sent."""

    client: httpx.AsyncClient
    model: _Turning
    seen: Upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attacked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Attacked]:
    """One server for all: whatever it was sent before, it holds against what comes next."""
    model = _Turning()
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
            yield Attacked(client, model, seen)


def _says_no_secret(*texts: str) -> None:
    for text in texts:
        assert not any(secret in text for secret in SECRETS)


@pytest.mark.timeout(300)
async def test_no_text_of_a_model_does_more_than_come_to_no_answer(
    attacked: Attacked, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
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
    _says_no_secret((await client.get("/metrics")).text)
    _says_no_secret(caplog.text, *capfd.readouterr())


@pytest.mark.parametrize("path", ["stream", "batch", "chat", "chat stream", "responses"])
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
        chat = {"model": "cap:single", "messages": _turns("6 * 3?", "The answer is 18.")}
        whole = {
            "stream": ("/v1/refine", {**ASKED, "stream": True}),
            "chat": ("/v1/chat/completions", chat),
            "chat stream": ("/v1/chat/completions", {**chat, "stream": True}),
            "responses": ("/v1/responses", {"model": "cap:single", "input": chat["messages"]}),
        }[path]
        response = await client.post(whole[0], json=whole[1])
        assert response.status_code == 200, name
        if "stream" in path:
            frames = response.text.split("\n\n")
            assert frames.count("data: [DONE]") == 1, name
            events = [each for each in frames if each.startswith("event: decision")]
            assert len(events) == (path == "stream"), name
            assert all(each == "" or "data: " in each for each in frames), name
        else:
            assert "\x1b" not in response.text, "JSON escapes it"


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


async def test_no_words_choose_the_strategy_spend_more_or_see_a_secret(
    attacked: Attacked, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    client, model = attacked.client, attacked.model
    model.respond = completes("answer = 18")
    for words in INJECTIONS:
        asked = {**ASKED, "question": words, "cot": f"{words} The answer is 18."}
        named = "".join(filter(str.isprintable, words))[:200]
        refined = await client.post("/v1/refine", json={**asked, "source": named})
        assert refined.json()["strategy"] == {
            **refined.json()["strategy"],
            "name": "majority",
            "programs": 1,
        }
        assert (refined.json()["usage"]["programs"], refined.json()["stopped_by"]) == (1, None)
        messages = [{"role": "system", "content": words}, *_turns(words, "The answer is 18.")]
        chat = await client.post(
            "/v1/chat/completions",
            json={"model": "cap:single", "messages": messages, "user": words},
        )
        told = chat.json()["choices"][0]["cap"]
        assert (told["strategy"]["name"], told["usage"]["programs"]) == ("single", 1)
        _says_no_secret(refined.text, chat.text)
    _says_no_secret(
        (await client.get("/metrics")).text,
        (await client.get("/v1/sources")).text,
        json.dumps(attacked.seen.bodies),
    )
    # It goes where it belongs, and nowhere else.
    assert all(MODEL_KEY.encode() in each for each in attacked.seen.headers)
    assert not any(OUR_KEY.encode() in each for each in attacked.seen.headers)
    _says_no_secret(caplog.text, *capfd.readouterr())
