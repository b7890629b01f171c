"""A critic whose judgements are counted, timed and traced, beside the models' draws."""

from __future__ import annotations

import time

from cap_server.domain import Candidate, CriticName, Judgement, Problem
from cap_server.errors import CapError
from cap_server.observing.metrics import Metrics
from cap_server.observing.traces import Traces
from cap_server.ports import Critic


class ObservedCritic:
    """Implements `Critic` by another one; its name is the role that it is counted under."""

    def __init__(
        self, critic: Critic, *, name: CriticName, metrics: Metrics, traces: Traces
    ) -> None:
        self._critic = critic
        self._name = name
        self._metrics = metrics
        self._traces = traces

    async def judge(self, problem: Problem, candidate: Candidate) -> Judgement:
        metrics, role, started = self._metrics, self._name, time.perf_counter()
        with self._traces.span("judgement", {"cap.role": role}) as span:
            try:
                judgement = await self._critic.judge(problem, candidate)
            except CapError as error:
                metrics.model_errors.labels(role, error.code).inc()
                span.set({"error.type": error.code})
                raise
        metrics.model_s.labels(role).observe(time.perf_counter() - started)
        metrics.tokens.labels(role, "prompt").inc(judgement.usage.prompt_tokens)
        metrics.tokens.labels(role, "completion").inc(judgement.usage.completion_tokens)
        return judgement
