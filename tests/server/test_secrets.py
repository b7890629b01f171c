"""Keys, passwords and users' texts stay out of logs, traces and answers, whatever goes wrong.

A server of its own, as operators run it, with all that it can log and trace; servers of models that
repeat whatever they were sent, headers and all.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import AnyHttpUrl, SecretStr
from typer.testing import CliRunner

from cap_server.cli import cli
from cap_server.secrecy import HIDDEN, Mask, secrets_of, without_credentials
from cap_server.settings import Settings
from tests.ports import free_port
from tests.server.otlp import Receiver, attributes, receiver
from tests.server.upstreams import Respond, Upstream, answers, breaks_off, completes, upstream
from tests.servers import Serving, serving

CALLER, STRANGER = "callers-key-5b1d", "strangers-key-77e0"
MODELS, WRITERS, JUDGES = "models-key-93bd2e", "writers-key-a80c", "judges-key-41ff"
# Too short for the mask, so that nothing but leaving them out helps.
IN_MODELS_URL, IN_JUDGES_URL = "u-6f3a", "j-0c2d"
KEYS = (CALLER, STRANGER, MODELS, WRITERS, JUDGES, IN_MODELS_URL, IN_JUDGES_URL)

ASKS, THINKS, PROGRAMS, NONSENSE = "zebras", "ostriches", "giraffes", "walruses"
SOURCE, BATCH, SYSTEM, FIELD = "flamingos", "pelicans", "hyenas", "lemurs"
TEXTS = (ASKS, THINKS, PROGRAMS, NONSENSE, SOURCE, BATCH, SYSTEM, FIELD)

QUESTION = f"6 * 3 {ASKS}?"
COT = f"6 * 3 {THINKS}. The answer is 18."
PROGRAM = f"answer = 18  # {PROGRAMS}"
ASKED: dict[str, Any] = {"question": QUESTION, "cot": COT, "strategy": "single", "source": SOURCE}
JUDGED = {"name": "best_of_n", "programs": 2, "critic": "reward_model"}
MESSAGES = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": QUESTION},
    {"role": "assistant", "content": COT},
]
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "refine": ("/v1/refine", ASKED),
    "refine stream": ("/v1/refine", {**ASKED, "stream": True}),
    "judged": ("/v1/refine", {**ASKED, "strategy": JUDGED}),
    "judged stream": ("/v1/refine", {**ASKED, "strategy": JUDGED, "stream": True}),
    "batch": (
        "/v1/refine/batch",
        {"problems": [{"question": QUESTION, "cot": COT, "source": SOURCE}]},
    ),
    "chat": ("/v1/chat/completions", {"model": "cap:single", "messages": MESSAGES}),
    "chat asks": ("/v1/chat/completions", {"model": "cap:single", "messages": MESSAGES[:2]}),
    "chat stream": (
        "/v1/chat/completions",
        {"model": "cap:single", "messages": MESSAGES[:2], "stream": True},
    ),
    "passed on": (
        "/v1/chat/completions",
        {"model": "writer", "messages": MESSAGES, "x": FIELD},
    ),
    "passed on stream": (
        "/v1/chat/completions",
        {"model": "writer", "messages": MESSAGES, "stream": True},
    ),
    "responses": ("/v1/responses", {"model": "cap:single", "input": MESSAGES}),
    "responses stream": (
        "/v1/responses",
        {"model": "cap:single", "input": QUESTION, "stream": True},
    ),
    "no field": ("/v1/refine", {**ASKED, FIELD: QUESTION}),
    "no message": ("/v1/chat/completions", {"model": "cap", "messages": QUESTION}),
}


@dataclass
class Models:
    """Attributes: respond: how all of them answer; seen: what each of them was sent."""

    respond: Callable[[Upstream], Respond]
    seen: list[Upstream]


def _repeats(status: str) -> Callable[[Upstream], Respond]:
    """Refuses, and tells everybody what it was sent and by whom."""

    def respond(seen: Upstream) -> Respond:
        head, body = seen.headers[-1].decode(), json.dumps(seen.bodies[-1])
        key = head.partition("uthorization: Bearer ")[2].partition("\r\n")[0]
        told = f"Incorrect API key provided: {key}. {head} {body}"
        fault = {"message": told, "type": "x", "param": QUESTION, "code": key}
        return answers(status, json.dumps({"error": fault}))

    return respond


def _answers(text: str) -> Callable[[Upstream], Respond]:
    return lambda seen: completes(text)


def _of_judges(respond: Callable[[Upstream], Respond]) -> Callable[[Upstream], Respond]:
    """How the reward model answers; the others do well."""
    well = _answers(PROGRAM)
    return lambda seen: (respond if b"/pooling" in seen.headers[-1] else well)(seen)


WAYS: dict[str, Callable[[Upstream], Respond]] = {
    "well": _answers(PROGRAM),
    "with a program that fails": _answers(f"answer = {PROGRAMS}"),
    "the key is refused": _repeats("401 Unauthorized"),
    "the request is refused": _repeats("400 Bad Request"),
    "the judge's key is refused": _of_judges(_repeats("401 Unauthorized")),
    "with nonsense": lambda seen: answers("200 OK", json.dumps({NONSENSE: 1})),
    "half": lambda seen: breaks_off,
    "it fails": _repeats("500 Internal Server Error"),
}


@asynccontextmanager
async def running(
    folder: Path, received: Receiver, **variables: str
) -> AsyncIterator[tuple[Serving, Models]]:
    """A server and its three models; the first of these has a second URL, where nobody listens."""
    models = Models(_answers(PROGRAM), [])
    async with AsyncExitStack() as stack:
        for number in range(3):

            async def respond(writer: asyncio.StreamWriter, number: int = number) -> None:
                await models.respond(models.seen[number])(writer)

            models.seen.append(await stack.enter_async_context(upstream(respond)))
        cap, cot, judge = (each.url for each in models.seen)
        dead = f"http://somebody:{IN_MODELS_URL}@127.0.0.1:{free_port()}/v1"
        settings = {
            "CAP_MODEL_API_KEY": MODELS,
            "CAP_COT_MODEL": "writer",
            "CAP_COT_MODEL_URL": cot,
            "CAP_COT_MODEL_API_KEY": WRITERS,
            "CAP_REWARD_MODEL": "judge",
            "CAP_REWARD_MODEL_URL": judge.replace("//", f"//somebody:{IN_JUDGES_URL}@"),
            "CAP_REWARD_MODEL_API_KEY": JUDGES,
            "CAP_API_KEYS": CALLER,
            "CAP_LOG_LEVEL": "debug",
            "CAP_TRACES_URL": f"{received.url}/v1/traces",
        }
        starting = serving(folder, f"{dead},{cap}", **settings, **variables)
        server = await asyncio.to_thread(starting.__enter__)
        stack.callback(starting.__exit__, None, None, None)
        yield server, models


async def _all_that_can_go_wrong(url: str, models: Models) -> dict[str, str]:
    """What the server answered, by what was asked and how models behaved."""
    said: dict[str, str] = {}
    headers = {"Authorization": f"Bearer {CALLER}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        for way, respond in WAYS.items():
            models.respond = respond
            for name, (path, body) in REQUESTS.items():
                named = {"Idempotency-Key": f"{BATCH} {way}"}
                response = await client.post(path, json=body, headers=named)
                said[f"{name}, {way}"] = f"{response.status_code} {response.text}"
        stranger = {"Authorization": f"Bearer {STRANGER}"}
        query = {"key": STRANGER, "question": QUESTION}
        for path in ("/v1/refine", "/v1/nothing"):
            response = await client.post(path, json=ASKED, headers=stranger, params=query)
            said[f"a stranger at {path}"] = response.text
        for path in ("/metrics", "/ready"):
            said[path] = (await client.get(path)).text
    return said


def _ended(server: Serving) -> str:
    """What it logged until its end."""
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(30)
    return server.said()


def _told(text: str, secrets: Iterable[str]) -> set[str]:
    """Which of the secrets stand in it."""
    return {each for each in secrets if each in text}


@pytest.mark.timeout(300)
async def test_no_key_and_no_text_of_users_is_logged_traced_or_answered_whatever_goes_wrong(
    tmp_path: Path,
) -> None:
    with receiver() as received:
        async with running(tmp_path, received) as (server, models):
            said = await _all_that_can_go_wrong(server.url, models)
            log = await asyncio.to_thread(_ended, server)
    # First that there was something to hide, and that it went where it belongs.
    cap, cot, judge = models.seen
    assert all(MODELS.encode() in each for each in cap.headers)
    assert all(WRITERS.encode() in each for each in cot.headers)
    assert any(PROGRAMS in str(each) for each in judge.bodies)
    events = {json.loads(line)["event"] for line in log.splitlines() if line.startswith("{")}
    assert events >= {
        "request", "model_refused", "model_unreachable", "model_garbage", "model_broke_off",
        "reward_model_refused", "reward_model_garbage",
    }  # fmt: skip
    errors = {attributes(span).get("error.type") for span in received.spans}
    assert errors >= {"model_response", "model_unavailable", "invalid_api_key", "invalid_value"}
    assert {span.name for span in received.spans} >= {"draw", "execution", "POST /v1/responses"}

    assert _told(log, (*KEYS, *TEXTS)) == set()
    assert _told(str(received.requests), (*KEYS, *TEXTS)) == set()
    assert {name: told for name in said if (told := _told(said[name], KEYS))} == {}
    assert _told(said["/metrics"] + said["/ready"], TEXTS) == set()
    assert "Traceback" not in log


@pytest.mark.timeout(300)
async def test_an_operator_who_wants_texts_in_the_log_gets_no_keys_with_them(
    tmp_path: Path,
) -> None:
    with receiver() as received:
        async with running(tmp_path, received, CAP_LOG_CONTENT="1") as (server, models):
            await _all_that_can_go_wrong(server.url, models)
            log = await asyncio.to_thread(_ended, server)
    assert f"Incorrect API key provided: {HIDDEN}." in log
    assert _told(log, TEXTS) >= {ASKS, PROGRAMS, NONSENSE}
    assert _told(log, KEYS) == set()
    assert _told(str(received.requests), (*KEYS, *TEXTS)) == set()


def test_settings_are_shown_without_passwords_in_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAP_MODEL_URL", "http://me:urls-password@a/v1,https://b/v1")
    shown = CliRunner().invoke(cli, ["config", "--json"]).stdout
    assert f"http://{HIDDEN}@a/v1,https://b/v1" in shown
    assert "urls-password" not in shown


def test_every_secret_of_the_settings_is_known() -> None:
    settings = Settings(
        model_url="http://a:password%2F1@b/v1,http://c/v1",
        model_api_key=SecretStr("models-key"),
        reward_model="judge",
        reward_model_url=AnyHttpUrl("http://:password-2@d"),
        api_keys=SecretStr("key-of-one,key-of-another"),
        database_url=SecretStr("postgresql+psycopg://cap:password-3@e/cap"),
        traces_url="http://f:password-4@g/v1/traces",
    )
    assert secrets_of(settings) >= {
        "models-key", "key-of-one", "key-of-another",
        "password/1", "password-2", "password-3", "password-4",
    }  # fmt: skip
    mask = Mask(secrets_of(settings))
    assert mask("password%2F1, password/1 and key-of-one") == f"{HIDDEN}, {HIDDEN} and {HIDDEN}"
    assert mask("Basic YTpwYXNzd29yZC8x") == f"Basic {HIDDEN}"
    assert mask("no secret: http://c/v1") == "no secret: http://c/v1"


def test_what_is_as_short_as_a_word_is_not_masked_and_no_secret_masks_nothing() -> None:
    assert Mask(["model"])("the model's key") == "the model's key"
    assert Mask([])("") == ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a:b@c/v1", f"http://{HIDDEN}@c/v1"),
        ("http://a@c,http://d:e@f", f"http://{HIDDEN}@c,http://{HIDDEN}@f"),
        ("http://c/v1?x=a@b", "http://c/v1?x=a@b"),
    ],
)
def test_urls_are_shown_without_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
