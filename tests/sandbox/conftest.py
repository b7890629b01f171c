"""Pools for the whole run: a warm process takes seconds to start, a program milliseconds to run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cap_sandbox import Pool


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool() -> AsyncIterator[Pool]:
    async with Pool(workers=2) as started:
        yield started


@pytest_asyncio.fixture(
    scope="session",
    loop_scope="session",
    params=[("policy",), ("policy", "namespaces", "landlock")],
    ids=["all of the jail", "the least of the jail"],
)
async def jail(request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    """A pool without the policy: what the layers beneath hold by themselves.

    Once with all of them, once with those alone that every machine grants.
    """
    async with Pool(workers=2, without=request.param) as started:
        yield started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def policy_alone() -> AsyncIterator[Pool]:
    """A pool without the kernel's layers but the resource limits: what the policy holds."""
    without = ("namespaces", "landlock", "seccomp")
    async with Pool(workers=2, without=without, allow_weak=True) as started:
        yield started
