"""A model behind an OpenAI-compatible server, vLLM first of all.

Every sample is a request of its own: it can be run the moment it is complete, and cancelled alone;
vLLM ends a generation when its connection closes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from cap_server.adapters.replicas import Replica
from cap_server.adapters.told_usage import ToldUsage
from cap_server.adapters.upstream import Upstream
from cap_server.domain import Message, Prompt, Sample, Sampling, Usage
from cap_server.errors import (
    CapError,
    LogprobsUnavailableError,
    ModelResponseError,
    ModelUnavailableError,
    PromptTooLongError,
)

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


class _PromptToken(BaseModel):
    logprob: float


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: ToldUsage | None = None
    prompt_logprobs: list[dict[str, _PromptToken] | None] | None = None


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


class VLLMModel:
    """A model that is drawn from."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @property
    def name(self) -> str:
        return self._upstream.name

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        """See `Model.sample`; `draw` matters only through its seed."""
        started = time.perf_counter()
        body = _body(self.name, prompt, sampling)
        try:
            response = await self._upstream.draw("/chat/completions", body)
        except PromptTooLongError:
            # `max_tokens` is a ceiling. Left out, the server completes in what room there is, which
            # is less than the ceiling, or it refuses again because the prompt itself is too long.
            del body["max_tokens"]
            response = await self._upstream.draw("/chat/completions", body)
        return _sample(response, model_s=time.perf_counter() - started)

    async def first_token(self, prompt: Prompt) -> tuple[Mapping[str, float], Usage]:
        """See `Scorer.first_token`."""
        body = _asking(self.name, prompt.messages) | {"logprobs": True, "top_logprobs": _MOST_TOP}
        completion = _completion(await self._upstream.post("/chat/completions", body))
        logprobs = completion.choices[0].logprobs
        if logprobs is None or not logprobs.content:
            raise LogprobsUnavailableError("The model's server does not tell log-probabilities.")
        first = logprobs.content[0]
        tokens = {each.token: _finite(each.logprob) for each in (*first.top_logprobs, first)}
        return tokens, _cost(completion)

    async def log_likelihood(self, prompt: Prompt, text: str) -> tuple[float, Usage]:
        """See `Scorer.log_likelihood`. Two calls: one only counts the tokens before the reply."""
        before = _completion(
            await self._upstream.post("/chat/completions", _asking(self.name, prompt.messages))
        )
        body = _asking(self.name, (*prompt.messages, Message("assistant", text))) | {
            "prompt_logprobs": 0,
            "add_generation_prompt": False,
            "continue_final_message": True,
        }
        whole = _completion(await self._upstream.post("/chat/completions", body))
        skipped = before.usage.prompt_tokens if before.usage else 0
        told = [each for each in (whole.prompt_logprobs or [])[skipped:] if each]
        if not told or not skipped:
            raise LogprobsUnavailableError(
                "The model's server does not tell the log-probabilities of a prompt; vLLM does."
            )
        logprobs = [_finite(next(iter(each.values())).logprob) for each in told]
        return sum(logprobs) / len(logprobs), _cost(before) + _cost(whole)

    async def check(self) -> None:
        """See `Model.check`; one server that serves the model is enough."""
        errors = await asyncio.gather(*map(self._check, self._upstream.replicas.all))
        if all(errors):
            raise next(error for error in errors if error is not None)

    async def _check(self, replica: Replica) -> CapError | None:
        try:
            response = await self._upstream.get_from(replica, "/models")
            served = [model.id for model in _Models.model_validate_json(response.content).data]
        except ValidationError:
            return ModelResponseError("The model's server does not list its models.")
        except CapError as error:
            return error
        if self.name not in served:
            return ModelResponseError(f"The model's server does not serve {self.name!r}.")
        if replica.circuit.state == "open":
            return ModelUnavailableError(
                "The model's server fails again and again; it is left alone for a moment."
            )
        return None


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
        _log.warning("model_garbage", bytes=len(response.content), body=response.text[:500])
        raise ModelResponseError(
            "The model's server answered something that is no completion."
        ) from error
    if not completion.choices:
        raise ModelResponseError("The model's server answered without a completion.")
    return completion


def _cost(completion: _Completion) -> Usage:
    usage = completion.usage or ToldUsage()
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
    choice, usage = completion.choices[0], completion.usage or ToldUsage()
    return Sample(
        text=choice.message.content or "",
        complete=choice.finish_reason == "stop",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        model_s=model_s,
        log_likelihood=_log_likelihood(choice),
    )
