"""Spans over OTLP, where the operator asks for them; nothing at all where not.

OpenTelemetry is an extra: `pip install cap-refine[traces]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from cap_server import __version__

Attributes = Mapping[str, str | int | None]
Headers = Iterable[tuple[bytes, bytes]]


class Span(Protocol):
    def name(self, name: str) -> None:
        """Call the span something else: the route is known at the end only."""
        ...

    def set(self, attributes: Attributes) -> None:
        """Add `attributes`; those that are None are left out."""
        ...


class Traces(Protocol):
    def request(self, headers: Headers) -> AbstractContextManager[Span]:
        """A span of a request, within the client's trace where `headers` name one."""
        ...

    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]:
        """A span within the current one."""
        ...

    def close(self) -> None:
        """Send what was not sent yet. Blocks."""
        ...


class _NoSpan:
    def name(self, name: str) -> None:
        pass

    def set(self, attributes: Attributes) -> None:
        pass


class _NoTraces:
    @contextmanager
    def request(self, headers: Headers) -> Iterator[Span]:
        yield NO_SPAN

    @contextmanager
    def span(self, name: str, attributes: Attributes) -> Iterator[Span]:
        yield NO_SPAN

    def close(self) -> None:
        pass


NO_SPAN: Span = _NoSpan()
NO_TRACES: Traces = _NoTraces()


def open_traces(url: str | None) -> Traces:
    """Traces to `url`, or to where the OTEL_* variables say.

    Args:
        url: takes OTLP over HTTP, `http://collector:4318/v1/traces`; None: OTEL_* decide.

    Raises:
        ImportError: the extra `traces` is not installed.
    """
    from cap_server.observing.otel import OTLPTraces

    return OTLPTraces(url, version=__version__)
