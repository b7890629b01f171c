"""The server's metrics, by name. Every label has few values, none of them a client's choice."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from cap_server import __version__

# A request takes milliseconds where nothing is drawn, minutes where a large model writes long CoTs.
_REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
# A draw takes tens of milliseconds from a small model, a minute from a large one that thinks.
_MODEL_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120)
# A program takes a millisecond; the last ones are those that ran to the limits of requests.
_EXECUTION_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 3, 10, 60)
_PROGRAMS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64)


class _WithoutCreated(Collector):
    """What `registry` collects, without the time at which each series began.

    They would be a third of all series, and nobody asks for them.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [each for each in family.samples if not _tells_its_birth(each)]
            yield family


def _tells_its_birth(sample: Sample) -> bool:
    return sample.name.endswith("_created")


class Metrics:
    """Args: registry: what they are registered with, once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._of_requests(registry)
        self._of_refinements(registry)
        self._of_models(registry)
        self._of_executions(registry)
        build = Gauge(
            "cap_build_info", "1, with the server's version.", ["version"], registry=registry
        )
        build.labels(__version__).set(1)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(_WithoutCreated(self.registry))

    def _of_requests(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "cap_requests_total",
            "Requests that ended, a stream at its end. Status 499: the client left.",
            ["route", "method", "status"],
            registry=registry,
        )
        self.request_s = Histogram(
            "cap_request_seconds",
            "From a request's arrival to the last byte of its answer.",
            ["route"],
            buckets=_REQUEST_S,
            registry=registry,
        )
        self.in_flight = Gauge(
            "cap_requests_in_flight",
            "Requests under way, those of operators left out.",
            registry=registry,
        )
        self.errors = Counter(
            "cap_request_errors_total",
            "Errors that clients were told.",
            ["code"],
            registry=registry,
        )

    def _of_refinements(self, registry: CollectorRegistry) -> None:
        self.refinements = Counter(
            "cap_refinements_total",
            "Refinements that came to a decision; stopped_by: the limit that ended one early.",
            ["strategy", "decision", "stopped_by"],
            registry=registry,
        )
        self.refinement_s = Histogram(
            "cap_refinement_seconds",
            "From a refinement's start to its decision.",
            ["strategy"],
            buckets=_REQUEST_S,
            registry=registry,
        )
        self.refinement_programs = Histogram(
            "cap_refinement_programs",
            "Programs that a refinement drew.",
            ["strategy"],
            buckets=_PROGRAMS,
            registry=registry,
        )

    def _of_models(self, registry: CollectorRegistry) -> None:
        self.draws_started = Counter(
            "cap_draws_started_total", "Texts asked of a model.", ["role"], registry=registry
        )
        self.draws = Counter(
            "cap_draws_total",
            "Texts asked of a model that ended: finished, failed or cancelled.",
            ["role", "outcome"],
            registry=registry,
        )
        self.draws_in_flight = Gauge(
            "cap_draws_in_flight",
            "Texts that a model is asked for now.",
            ["role"],
            registry=registry,
        )
        self.tokens = Counter(
            "cap_tokens_total",
            "Tokens, as the model's server counts them.",
            ["role", "kind"],
            registry=registry,
        )
        self.model_s = Histogram(
            "cap_model_seconds",
            "Of calls to a model or critic that it answered.",
            ["role"],
            buckets=_MODEL_S,
            registry=registry,
        )
        self.model_errors = Counter(
            "cap_model_errors_total",
            "Calls that gave nothing usable.",
            ["role", "code"],
            registry=registry,
        )

    def _of_executions(self, registry: CollectorRegistry) -> None:
        self.executions = Counter(
            "cap_executions_total",
            "Programs by how they ended. unavailable: the sandbox failed; cancelled: not needed.",
            ["status"],
            registry=registry,
        )
        self.execution_s = Histogram(
            "cap_execution_seconds", "That a program ran.", buckets=_EXECUTION_S, registry=registry
        )
        self.execution_wait_s = Histogram(
            "cap_execution_wait_seconds",
            "That a program waited for its turn, its process and the way there and back.",
            buckets=_EXECUTION_S,
            registry=registry,
        )
        self.executions_in_flight = Gauge(
            "cap_executions_in_flight", "Programs that wait or run.", registry=registry
        )
