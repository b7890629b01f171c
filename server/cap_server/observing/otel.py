"""Traces by OpenTelemetry's SDK, which must be installed to import this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from cap_server.observing.traces import Attributes, Headers, Span


class _OTLPSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(_known(attributes))


class OTLPTraces:
    """Sends in batches, from a thread of its own: no request waits for the collector.

    Args:
        url: see `open_traces`.
        version: of the server, as spans tell it.
    """

    def __init__(self, url: str | None, *, version: str) -> None:
        named = {"service.name": "cap-server", "service.version": version}
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes first.
        said = OTELResourceDetector().detect()
        self._provider = TracerProvider(resource=Resource.create(named).merge(said))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
        self._tracer = self._provider.get_tracer("cap_server", version)

    @contextmanager
    def request(self, headers: Headers) -> Iterator[Span]:
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        context = TraceContextTextMapPropagator().extract(sent)
        with self._tracer.start_as_current_span(
            "request",
            context,
            kind=trace.SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _OTLPSpan(span)

    @contextmanager
    def span(self, name: str, attributes: Attributes) -> Iterator[Span]:
        # Exceptions' texts may hold what users sent; `error.type` tells what happened.
        with self._tracer.start_as_current_span(
            name,
            attributes=_known(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _OTLPSpan(span)

    def close(self) -> None:
        self._provider.shutdown()


def _known(attributes: Attributes) -> Mapping[str, str | int]:
    return {name: value for name, value in attributes.items() if value is not None}
