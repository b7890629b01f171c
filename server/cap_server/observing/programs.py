"""A sandbox whose executions are counted, timed and traced, and what its pool tells of itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cap_sandbox import Figure
from cap_server.domain import Execution, Limits
from cap_server.errors import CapError
from cap_server.observing.metrics import Metrics
from cap_server.observing.traces import Traces
from cap_server.ports import Sandbox


class ObservedSandbox:
    """Implements `Sandbox` by another one."""

    def __init__(self, sandbox: Sandbox, *, metrics: Metrics, traces: Traces) -> None:
        self._sandbox = sandbox
        self._metrics = metrics
        self._traces = traces

    async def execute(self, program: str, *, limits: Limits) -> Execution:
        metrics, started, status = self._metrics, time.perf_counter(), "unavailable"
        with (
            metrics.executions_in_flight.track_inprogress(),
            self._traces.span("execution", {}) as span,
        ):
            try:
                execution = await self._sandbox.execute(program, limits=limits)
                status = execution.status
            except CapError as error:
                span.set({"error.type": error.code})
                raise
            except asyncio.CancelledError:
                status = "cancelled"
                raise
            finally:
                metrics.executions.labels(status).inc()
                span.set({"cap.status": status})
        metrics.execution_s.observe(execution.wall_s)
        waited_s = time.perf_counter() - started - execution.wall_s
        metrics.execution_wait_s.observe(max(0.0, waited_s))
        return execution

    async def check(self) -> str:
        return await self._sandbox.check()


class PoolFigures(Collector):
    """Registers figures that are read anew at every scrape.

    Args:
        figures: of a pool in this process, where one elsewhere serves its own, or of what else
            keeps some.
    """

    def __init__(self, figures: Callable[[], tuple[Figure, ...]]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for figure in self._figures():
            family = GaugeMetricFamily if figure.kind == "gauge" else CounterMetricFamily
            metric = family(figure.name, figure.meaning, labels=[name for name, _ in figure.labels])
            metric.add_metric([value for _, value in figure.labels], figure.value)
            yield metric
