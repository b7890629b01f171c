"""Chat completions of an OpenAI-compatible server as they are: what a client asks, passed on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from cap_server.adapters.faults import chat_fault_of
from cap_server.adapters.told_usage import ToldUsage
from cap_server.adapters.upstream import Upstream
from cap_server.domain import ChatReply
from cap_server.errors import CapError, ModelResponseError

_PATH = "/chat/completions"

_log = structlog.get_logger(__name__)


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: ToldUsage | None = None


class UpstreamChat:
    """See `ports.ChatModel`."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @property
    def name(self) -> str:
        return self._upstream.name

    async def complete(self, body: Mapping[str, Any]) -> ChatReply:
        content = (await self._upstream.post(_PATH, self._named(body), fault=self._fault)).content
        try:
            completion = _Completion.model_validate_json(content)
            choice = completion.choices[0]
        except (ValidationError, IndexError) as error:
            _log.warning("model_garbage", bytes=len(content), body=content[:500])
            raise ModelResponseError(
                "The model's server answered something that is no completion."
            ) from error
        usage = completion.usage or ToldUsage()
        return ChatReply(
            text=choice.message.content or "",
            finish_reason=choice.finish_reason or "stop",
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            content=content,
        )

    def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        return self._upstream.stream(_PATH, self._named(body), fault=self._fault)

    def _fault(self, response: httpx.Response, model: str) -> CapError:
        return chat_fault_of(response, model, mask=self._upstream.mask)

    def _named(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**body, "model": self.name}
