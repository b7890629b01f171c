"""Pools for the whole run: a warm process takes seconds to start, a program milliseconds to run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from cap_sandbox import Pool


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool() -> AsyncIterator[Pool]:
    async with Pool(workers=2) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def jail() -> AsyncIterator[Pool]:
    """A pool without the policy: what the layers beneath hold by themselves."""
    async with Pool(workers=2, policy=False) as started:
        yield started
