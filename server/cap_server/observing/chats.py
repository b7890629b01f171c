"""A model that clients talk to, counted as the other models are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

from cap_server.domain import ChatReply
from cap_server.errors import CapError
from cap_server.observing.metrics import Metrics
from cap_server.observing.traces import Traces
from cap_server.ports import ChatModel

_ROLE = "chat"


class ObservedChat:
    """Implements `ChatModel` by another one. A stream's tokens are not known here."""

    def __init__(self, chat: ChatModel, *, metrics: Metrics, traces: Traces) -> None:
        self._chat = chat
        self._metrics = metrics
        self._traces = traces

    @property
    def name(self) -> str:
        return self._chat.name

    async def complete(self, body: Mapping[str, Any]) -> ChatReply:
        with self._traces.span("draw", {"cap.role": _ROLE}), self._counted():
            reply = await self._chat.complete(body)
        self._metrics.tokens.labels(_ROLE, "prompt").inc(reply.prompt_tokens)
        self._metrics.tokens.labels(_ROLE, "completion").inc(reply.completion_tokens)
        return reply

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        with self._counted():
            async with aclosing(self._chat.stream(body)) as pieces:
                async for piece in pieces:
                    yield piece

    @contextmanager
    def _counted(self) -> Iterator[None]:
        metrics, started, outcome = self._metrics, time.perf_counter(), "failed"
        metrics.draws_started.labels(_ROLE).inc()
        try:
            with metrics.draws_in_flight.labels(_ROLE).track_inprogress():
                yield
            outcome = "finished"
            metrics.model_s.labels(_ROLE).observe(time.perf_counter() - started)
        except CapError as error:
            metrics.model_errors.labels(_ROLE, error.code).inc()
            raise
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            raise
        finally:
            metrics.draws.labels(_ROLE, outcome).inc()
