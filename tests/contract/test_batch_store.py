"""What every database of batches promises."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from cap_server.adapters.sql_batches import SQLBatches
from cap_server.batches.item import Item, Name
from cap_server.domain import Usage
from cap_server.errors import BatchHeldError, BatchMismatchError
from tests.contract.conftest import Open

NAME = Name("tenant", "Zo\"e's; drop table cap_batches --", "a" * 64)
LONG_S = 1000.0


def item(index: int, *, line: bytes = b'{"n": "\\u0000 \xc3\xa9"}\n') -> Item:
    return Item(index, 200, line, Usage(completion_tokens=index, wall_s=0.5))


async def claim(
    store: SQLBatches, name: Name = NAME, *, holder: str = "one", lease_s: float = LONG_S
) -> str:
    return await store.claim(
        name, new_id=f"batch_{holder}_{name.key}"[:40], holder=holder, lease_s=lease_s
    )


async def test_items_are_told_to_every_process_by_index_and_as_they_were(database: Open) -> None:
    one, two = SQLBatches(database()), SQLBatches(database())
    batch = await claim(one)
    await one.keep([(batch, item(n)) for n in (7, 2, 5)])
    assert await two.indexes(batch) == {2, 5, 7}
    assert await two.kept(batch, after=-1, most=2) == [item(2), item(5)]
    assert await two.kept(batch, after=5, most=2) == [item(7)]
    assert await two.kept("batch_other", after=-1, most=2) == []


async def test_an_item_that_is_kept_stays_as_it_is(database: Open) -> None:
    store = SQLBatches(database())
    batch = await claim(store)
    await store.keep([(batch, item(1))])
    await store.keep([(batch, item(1, line=b"another\n")), (batch, item(2))])
    assert await store.kept(batch, after=-1, most=9) == [item(1), item(2)]


async def test_a_batch_has_one_holder_until_the_lease_ends(database: Open) -> None:
    one, two = SQLBatches(database()), SQLBatches(database())
    batch = await claim(one)
    with pytest.raises(BatchHeldError) as held:
        await claim(two, holder="two")
    assert held.value.retry_after_s is not None
    assert 0 < held.value.retry_after_s <= LONG_S
    assert await one.renew(batch, holder="one", lease_s=LONG_S)
    assert not await two.renew(batch, holder="two", lease_s=LONG_S)
    await two.release(batch, holder="two")  # not his to end
    with pytest.raises(BatchHeldError):
        await claim(two, holder="two")
    await one.release(batch, holder="one")
    assert await claim(two, holder="two") == batch
    assert not await one.renew(batch, holder="one", lease_s=LONG_S)


async def test_a_lease_that_nobody_renews_ends_by_itself(database: Open) -> None:
    one, two = SQLBatches(database()), SQLBatches(database())
    batch = await claim(one, lease_s=0.01)
    async with asyncio.timeout(30):
        while True:
            try:
                assert await claim(two, holder="two") == batch
                return
            except BatchHeldError:
                await asyncio.sleep(0.01)


async def test_a_lease_from_before_the_clock_was_set_back_holds_nobody_up(database: Open) -> None:
    one, two = SQLBatches(database()), SQLBatches(database())
    batch = await claim(one, lease_s=86_400)
    assert await claim(two, holder="two", lease_s=15) == batch
    assert not await one.renew(batch, holder="one", lease_s=15)


async def test_a_name_stands_for_one_body_and_for_each_tenant_alone(database: Open) -> None:
    store = SQLBatches(database())
    batch = await claim(store)
    with pytest.raises(BatchMismatchError):
        await claim(store, replace(NAME, body_hash="b" * 64))
    others = await store.claim(
        replace(NAME, tenant="other", body_hash="b" * 64),
        new_id="batch_others", holder="two", lease_s=LONG_S,
    )  # fmt: skip
    assert others != batch


async def test_of_replicas_that_claim_at_once_one_gets_it(database: Open) -> None:
    stores = [SQLBatches(database()) for _ in range(4)]
    claiming = (claim(store, holder=str(n)) for n, store in enumerate(stores))
    ended = await asyncio.gather(*claiming, return_exceptions=True)
    assert sorted(type(each).__name__ for each in ended) == ["BatchHeldError"] * 3 + ["str"]


async def test_what_is_old_and_unheld_is_swept_with_its_items(database: Open) -> None:
    store = SQLBatches(database())
    held, free = await claim(store), await claim(store, replace(NAME, key="free"), holder="two")
    await store.keep([(held, item(1)), (free, item(1))])
    await store.release(free, holder="two")
    await store.sweep(before=time.time() - 1000, most_bytes=10**9)
    assert await store.indexes(free) == {1}
    await store.sweep(before=time.time() + 1000, most_bytes=10**9)
    assert await store.indexes(free) == frozenset()
    assert await store.indexes(held) == {1}


async def test_over_the_bound_the_oldest_of_whoever_keeps_most_goes_first(database: Open) -> None:
    store = SQLBatches(database())
    batches = {}
    for tenant, key, size in (("big", "old", 400), ("small", "own", 100), ("big", "new", 400)):
        batch = await claim(store, Name(tenant, key, "a" * 64), holder=key)
        await store.keep([(batch, item(0, line=b"x" * size))])
        await store.release(batch, holder=key)
        batches[key] = batch
    await store.sweep(before=0, most_bytes=600)
    left = {key for key, batch in batches.items() if await store.indexes(batch)}
    assert left == {"own", "new"}


async def test_sweeping_makes_nothing(database: Open) -> None:
    store = SQLBatches(database())
    await store.sweep(before=0, most_bytes=0)
    assert await claim(store)
