"""A model whose draws are counted, timed and traced."""

from __future__ import annotations

import asyncio
import time

from cap_server.domain import Prompt, Sample, Sampling
from cap_server.errors import CapError
from cap_server.observing.metrics import Metrics
from cap_server.observing.traces import Span, Traces
from cap_server.ports import Model


class ObservedModel:
    """Implements `Model` by another one.

    Args:
        model: what answers.
        role: `cap` or `cot`.
        metrics: where draws are counted.
        traces: where each draw is a span.
    """

    def __init__(self, model: Model, *, role: str, metrics: Metrics, traces: Traces) -> None:
        self._model = model
        self._role = role
        self._metrics = metrics
        self._traces = traces

    @property
    def name(self) -> str:
        return self._model.name

    async def sample(self, prompt: Prompt, *, sampling: Sampling, draw: int) -> Sample:
        metrics, role = self._metrics, self._role
        metrics.draws_started.labels(role).inc()
        with (
            metrics.draws_in_flight.labels(role).track_inprogress(),
            self._traces.span("draw", {"cap.role": role, "cap.draw": draw}) as span,
        ):
            outcome = "failed"
            try:
                sample = await self._timed(prompt, sampling, draw=draw, span=span)
                outcome = "finished"
                return sample
            except asyncio.CancelledError:
                outcome = "cancelled"
                raise
            finally:
                metrics.draws.labels(role, outcome).inc()
                span.set({"cap.outcome": outcome})

    async def check(self) -> None:
        await self._model.check()

    async def _timed(self, prompt: Prompt, sampling: Sampling, *, draw: int, span: Span) -> Sample:
        metrics, role, started = self._metrics, self._role, time.perf_counter()
        try:
            sample = await self._model.sample(prompt, sampling=sampling, draw=draw)
        except CapError as error:
            metrics.model_errors.labels(role, error.code).inc()
            span.set({"error.type": error.code})
            raise
        metrics.model_s.labels(role).observe(time.perf_counter() - started)
        metrics.tokens.labels(role, "prompt").inc(sample.prompt_tokens)
        metrics.tokens.labels(role, "completion").inc(sample.completion_tokens)
        span.set(
            {
                "gen_ai.request.model": self.name,
                "gen_ai.usage.input_tokens": sample.prompt_tokens,
                "gen_ai.usage.output_tokens": sample.completion_tokens,
            }
        )
        return sample
