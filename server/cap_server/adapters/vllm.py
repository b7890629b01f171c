"""A model behind an OpenAI-compatible server, vLLM first of all.

One pooled HTTP client serves all requests. Every sample is a request of its own: it can be run the
moment it is complete, and cancelled alone; vLLM ends a generation when its connection closes.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping
from typing import Any

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from cap_server.adapters.upstream import MODEL_DOWN, fault_of
from cap_server.domain import Message, Prompt, Sample, Sampling, Usage
from cap_server.errors import (
    LogprobsUnavailableError,
    ModelResponseError,
    ModelUnavailableError,
    PromptTooLongError,
)

_TRIES = 3
_BACKOFF_S = 0.1
_MOST_TOP = 20  # what OpenAI's API and vLLM's defaults allow
_LEAST_LOGPROB = -100.0

_log = structlog.get_logger(__name__)


class _Message(BaseModel):
    content: str | None = None


class _Token(BaseModel):
    token: str
    logprob: float


class _Position(_Token):
    top_logprobs: list[_Token] = []


class _Logprobs(BaseModel):
    content: list[_Position] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _PromptToken(BaseModel):
    logprob: float


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None
    prompt_logprobs: list[dict[str, _PromptToken] | None] | None = None


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


def model_client(*, connections: int, read_timeout_s: float) -> httpx.AsyncClient:
    """The client that all models share.

    Args:
        connections: requests that are under way at once; more wait for a place.
        read_timeout_s: seconds without a byte after which an upstream counts as down.
    """
    return httpx.AsyncClient(
        timeout=httpx.Timeout(read_timeout_s, connect=5.0, write=10.0),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
    )


class VLLMModel:
    """A model of an OpenAI-compatible server.

    Args:
        client: from `model_client`; closed by whoever opened it.
        url: the API's root, `http://host:port/v1`.
        name: the model, as the server names it.
        api_key: sent as a bearer token; None to send none.
    """

    def __init__(
        self, client: httpx.AsyncClient, *, url: str, name: str, api_key: str | None = None
    ) -> None:
        self._client = client
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        """See `Model.sample`; `draw` matters only through its seed."""
        started = time.perf_counter()
        body = _body(self._name, prompt, sampling)
        try:
            response = await self._send("POST", "/chat/completions", body)
        except PromptTooLongError:
            # `max_tokens` is a ceiling. Left out, the server completes in what room there is, which
            # is less than the ceiling, or it refuses again because the prompt itself is too long.
            del body["max_tokens"]
            response = await self._send("POST", "/chat/completions", body)
        return _sample(response, model_s=time.perf_counter() - started)

    async def first_token(self, prompt: Prompt) -> tuple[Mapping[str, float], Usage]:
        """See `Scorer.first_token`."""
        body = _asking(self._name, prompt.messages) | {"logprobs": True, "top_logprobs": _MOST_TOP}
        completion = _completion(await self._send("POST", "/chat/completions", body))
        logprobs = completion.choices[0].logprobs
        if logprobs is None or not logprobs.content:
            raise LogprobsUnavailableError("The model's server does not tell log-probabilities.")
        first = logprobs.content[0]
        tokens = {each.token: _finite(each.logprob) for each in (*first.top_logprobs, first)}
        return tokens, _cost(completion)

    async def log_likelihood(self, prompt: Prompt, text: str) -> tuple[float, Usage]:
        """See `Scorer.log_likelihood`. Two calls: one only counts the tokens before the reply."""
        before = _completion(
            await self._send("POST", "/chat/completions", _asking(self._name, prompt.messages))
        )
        body = _asking(self._name, (*prompt.messages, Message("assistant", text))) | {
            "prompt_logprobs": 0,
            "add_generation_prompt": False,
            "continue_final_message": True,
        }
        whole = _completion(await self._send("POST", "/chat/completions", body))
        skipped = before.usage.prompt_tokens if before.usage else 0
        told = [each for each in (whole.prompt_logprobs or [])[skipped:] if each]
        if not told or not skipped:
            raise LogprobsUnavailableError(
                "The model's server does not tell the log-probabilities of a prompt; vLLM does."
            )
        logprobs = [_finite(next(iter(each.values())).logprob) for each in told]
        return sum(logprobs) / len(logprobs), _cost(before) + _cost(whole)

    async def check(self) -> None:
        response = await self._send("GET", "/models", None)
        try:
            served = [model.id for model in _Models.model_validate_json(response.content).data]
        except ValidationError as error:
            raise ModelResponseError("The model's server does not list its models.") from error
        if self._name not in served:
            raise ModelResponseError(f"The model's server does not serve {self._name!r}.")

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        """One answer with status 200, after retries of what cannot have begun a generation."""
        for attempt in range(1, _TRIES + 1):
            try:
                response = await self._client.request(
                    method, self._url + path, json=body, headers=self._headers
                )
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if attempt == _TRIES:
                    _log.warning("model_unreachable", url=self._url, error=repr(error))
                    raise ModelUnavailableError(MODEL_DOWN, retry_after_s=5) from error
                await asyncio.sleep(random.uniform(0.5, 1.5) * _BACKOFF_S * attempt)
                continue
            except httpx.HTTPError as error:
                _log.warning("model_broke_off", url=self._url, error=repr(error))
                raise ModelUnavailableError(
                    "The model's server broke off or did not answer in time.", retry_after_s=5
                ) from error
            if response.status_code != httpx.codes.OK:
                _log.warning("model_refused", status=response.status_code, body=response.text[:500])
                raise fault_of(response, model=self._name)
            return response
        raise AssertionError("unreachable")


def _body(model: str, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
        "stop": list(prompt.stop) or None,
        "logprobs": sampling.logprobs or None,
    }
    return {field: value for field, value in body.items() if value is not None}


def _asking(model: str, messages: tuple[Message, ...]) -> dict[str, Any]:
    """A request for the likeliest next token."""
    return {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "temperature": 0,
        "max_tokens": 1,
    }


def _completion(response: httpx.Response) -> _Completion:
    try:
        completion = _Completion.model_validate_json(response.content)
    except ValidationError as error:
        _log.warning("model_garbage", body=response.text[:500])
        raise ModelResponseError(
            "The model's server answered something that is no completion."
        ) from error
    if not completion.choices:
        raise ModelResponseError("The model's server answered without a completion.")
    return completion


def _cost(completion: _Completion) -> Usage:
    usage = completion.usage or _Usage()
    return Usage(usage.prompt_tokens, usage.completion_tokens)


def _finite(logprob: float) -> float:
    """Servers send NaN for what they could not compute: as good as impossible."""
    return _LEAST_LOGPROB if math.isnan(logprob) else min(0.0, max(_LEAST_LOGPROB, logprob))


def _log_likelihood(choice: _Choice) -> float | None:
    if choice.logprobs is None or not choice.logprobs.content:
        return None
    logprobs = [_finite(each.logprob) for each in choice.logprobs.content]
    return sum(logprobs) / len(logprobs)


def _sample(response: httpx.Response, *, model_s: float) -> Sample:
    completion = _completion(response)
    choice, usage = completion.choices[0], completion.usage or _Usage()
    return Sample(
        text=choice.message.content or "",
        complete=choice.finish_reason == "stop",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        model_s=model_s,
        log_likelihood=_log_likelihood(choice),
    )
