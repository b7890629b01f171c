"""The servers of models, and whether their circuits let requests pass; read at every scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cap_server.domain import CircuitState, ReplicaFigures

_VALUES: Mapping[CircuitState, int] = {"closed": 0, "half_open": 1, "open": 2}


class CircuitFigures(Collector):
    """Args: replicas: of each role, as `Tools` has them."""

    def __init__(self, replicas: Mapping[str, Callable[[], Sequence[ReplicaFigures]]]) -> None:
        self._replicas = replicas

    def collect(self) -> Iterator[Metric]:
        circuits = GaugeMetricFamily(
            "cap_model_circuit",
            "Of a model's server: 0 closed, 1 half open (one request may try), 2 open (none may).",
            labels=["role", "replica"],
        )
        under_way = GaugeMetricFamily(
            "cap_model_requests_under_way",
            "Requests that a model's server has now.",
            labels=["role", "replica"],
        )
        for role, figures in self._replicas.items():
            for each in figures():
                labels = [role, str(each.number)]
                circuits.add_metric(labels, _VALUES[each.circuit])
                under_way.add_metric(labels, each.under_way)
        yield circuits
        yield under_way
