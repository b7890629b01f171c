"""What holds for every test."""

from __future__ import annotations

import logging
import os

import pytest
import structlog
from hypothesis import settings

# Processes of pytest-xdist have one, which rich would keep whatever a test says.
os.environ.pop("COLUMNS", None)

# How long an example takes says more of the machine, which may be busy, than of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side: a file's in one process, and all those with vLLM in one."""
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group("e2e" if folder == "e2e" else str(item.path)))


@pytest.fixture(autouse=True, scope="session")
def _quiet_log() -> None:
    """Servers run inside the tests' process; their log would mix with what is tested."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
