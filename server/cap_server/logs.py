"""The server's log: one event a line on stderr, for people on a terminal, JSON anywhere else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog

from cap_server.secrecy import Mask

_Event = MutableMapping[str, Any]


def configure_logs(level: str, *, content: bool = False, secrets: Iterable[str] = ()) -> None:
    """Args:
    level: `debug`, `info`, `warning` or `error`; less is not written.
    content: whether `body` is written, what a server said that we asked: it may repeat what users
        sent.
    secrets: never written, whoever says them.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    mask = Mask(secrets)

    def masked(logger: object, method: str, line: Any) -> Any:  # noqa: ANN401  # as structlog's
        return mask(line)

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if content else [_without_body]),
            *_rendered(on_terminal=sys.stderr.isatty()),
            masked,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # uvicorn and httpx speak through the standard library; only what goes wrong there matters.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Masked(mask))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def request_id() -> str | None:
    """The id of the request that the running task works for; None outside of requests."""
    found = structlog.contextvars.get_contextvars().get("request_id")
    return str(found) if found else None


class _Masked(logging.Formatter):
    def __init__(self, mask: Mask) -> None:
        super().__init__("%(levelname)s %(message)s")
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        return self._mask(super().format(record))


def _without_body(logger: object, method: str, event: _Event) -> _Event:
    event.pop("body", None)
    return event


def _rendered(*, on_terminal: bool) -> list[structlog.typing.Processor]:
    if on_terminal:
        # Not the default traceback: it shows local variables, and with them what users sent.
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
