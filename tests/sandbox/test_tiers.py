"""What a pool tells of the layers that it reached, and what it does not start without."""

from __future__ import annotations

import pytest

from cap_sandbox import Limits, Pool, WeakIsolationError

LIMITS = Limits(wall_s=20)

TIERS = [
    ((), "strong"),
    (("namespaces",), "standard"),
    (("namespaces", "landlock"), "basic"),
]


@pytest.mark.parametrize(("without", "tier"), TIERS)
async def test_the_tier_tells_which_layers_were_reached(
    without: tuple[str, ...], tier: str
) -> None:
    async with Pool(workers=1, without=without) as pool:
        reached = pool.layers
        if not without and not reached["namespaces"]:
            pytest.skip("this machine grants no namespaces")
        assert pool.tier == tier
        assert reached["seccomp"]
        assert not any(reached[layer] for layer in without)
        assert (await pool.execute("answer = 6 * 7", limits=LIMITS)).status == "ok"


async def test_without_a_system_call_filter_the_pool_starts_only_when_told_to() -> None:
    with pytest.raises(WeakIsolationError):
        async with Pool(workers=1, without=["seccomp"]):
            pass
    async with Pool(workers=1, without=["seccomp"], allow_weak=True) as pool:
        assert pool.tier == "weak"
        assert (await pool.execute("answer = 6 * 7", limits=LIMITS)).status == "ok"


@pytest.mark.parametrize("workers", [0, -1])
async def test_a_pool_needs_a_worker(workers: int) -> None:
    with pytest.raises(ValueError, match="workers"):
        Pool(workers=workers)
