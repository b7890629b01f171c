"""What holds for every test."""

from __future__ import annotations

import logging

import pytest
import structlog


@pytest.fixture(autouse=True, scope="session")
def _quiet_log() -> None:
    """Servers run inside the tests' process; their log would mix with what is tested."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
