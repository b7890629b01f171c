"""The server's log: one event a line on stderr, for people on a terminal, JSON anywhere else."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logs(level: str) -> None:
    """Args: level: `debug`, `info`, `warning` or `error`; less is not written."""
    number = logging.getLevelNamesMapping()[level.upper()]
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if on_terminal else [structlog.processors.format_exc_info]),
            _for_people() if on_terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # uvicorn and httpx speak through the standard library; only what goes wrong there matters.
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s"
    )


def request_id() -> str | None:
    """The id of the request that the running task works for; None outside of requests."""
    found = structlog.contextvars.get_contextvars().get("request_id")
    return str(found) if found else None


def _for_people() -> structlog.dev.ConsoleRenderer:
    # Not the default traceback: it shows local variables, and with them what users sent.
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
