"""The run of a batch: what is begun, what is kept, and what becomes of it when things go wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from cap_server.adapters.sql import Database
from cap_server.adapters.sql_batches import SQLBatches
from cap_server.batches.batches import Batches, Reading
from cap_server.batches.item import Item, Name
from cap_server.batches.run import Run
from cap_server.domain import Usage
from cap_server.errors import BatchHeldError, BatchMismatchError, StoreUnavailableError
from tests.server.benches import until

NAME = Name("tenant", "key", "a" * 64)


class Works:
    """Work that ends when it is told to; `fails` come to a status that another try may mend."""

    def __init__(self, *, fails: Sequence[int] = (), held: bool = False) -> None:
        self.begun: Counter[int] = Counter()
        self.cancelled = 0
        self.fails = set(fails)
        self.open = asyncio.Event()
        if not held:
            self.open.set()

    async def __call__(self, index: int, *, covered: bool) -> Item:
        self.begun[index] += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        status = 503 if index in self.fails else 200
        return Item(index, status, b"%d\n" % index, Usage(programs=1))


class Store(SQLBatches):
    """A database that can be switched off, and lose a lease."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.keeps = True
        self.renews: bool | None = True

    async def keep(self, items: Sequence[tuple[str, Item]]) -> None:
        if not self.keeps:
            raise StoreUnavailableError("no")
        await super().keep(items)

    async def renew(self, batch: str, *, holder: str, lease_s: float) -> bool:
        if self.renews is None:
            raise StoreUnavailableError("no")
        return self.renews and await super().renew(batch, holder=holder, lease_s=lease_s)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    database = Database(f"sqlite:///{tmp_path / 'batches.db'}")
    yield Store(database)
    database.close()


def batches(store: Store | None, *, at_once: int = 4, lease_s: float = 15.0) -> Batches:
    return Batches(store, at_once=at_once, kept_s=1000, kept_bytes=10**9, lease_s=lease_s)


async def indexes(reading: Reading, *, most: int = 1000) -> list[int]:
    found: list[int] = []
    items: AsyncIterator[Item] = reading.items()
    async for item in items:
        found.append(item.index)
        if len(found) == most:
            break
    return found


async def settled() -> None:
    """Let everything happen that waits for nothing outside."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_a_reader_that_does_not_read_holds_up_what_is_begun() -> None:
    works = Works()
    run = Run(100, work=works, at_once=3)
    reader, _ = await run.attach()
    await until(lambda: works.begun.total() == 6)
    await settled()
    assert works.begun.total() == 6  # three wait for the reader, three for room there
    await reader.next()
    await until(lambda: works.begun.total() == 7)
    await run.stop()


async def test_so_many_are_under_way_and_each_is_begun_once(store: Store) -> None:
    works = Works(held=True)
    async with batches(store, at_once=5).running() as opened:
        reading = await opened.open(20, work=works, name=None)
        await until(lambda: works.begun.total() == 5)
        await settled()
        assert works.begun.total() == 5
        works.open.set()
        assert sorted(await indexes(reading)) == list(range(20))
        await reading.leave()
    assert set(works.begun.values()) == {1}


async def test_without_a_name_leaving_cancels() -> None:
    works = Works(held=True)
    async with batches(None).running() as opened:
        reading = await opened.open(20, work=works, name=None)
        await until(lambda: works.begun.total() == 4)
        await reading.leave()
    assert (works.begun.total(), works.cancelled) == (4, 4)


async def test_with_a_name_what_is_under_way_ends_and_is_found_again(store: Store) -> None:
    works = Works(held=True)
    async with batches(store).running() as opened:
        reading = await opened.open(20, work=works, name=NAME)
        await until(lambda: works.begun.total() == 4)
        leaving = asyncio.ensure_future(reading.leave())
        await settled()
        assert not leaving.done()
        works.open.set()
        await leaving
        assert (works.begun.total(), works.cancelled) == (4, 0)
        again = await opened.open(20, work=works, name=NAME)
        assert again.id == reading.id
        found = await indexes(again)
        assert found[:4] == [0, 1, 2, 3]
        assert sorted(found) == list(range(20))
        await again.leave()
    assert set(works.begun.values()) == {1}


async def test_who_comes_back_before_that_gets_them_too(store: Store) -> None:
    works = Works(held=True)
    async with batches(store).running() as opened:
        first = await opened.open(20, work=works, name=NAME)
        await until(lambda: works.begun.total() == 4)
        leaving = asyncio.ensure_future(first.leave())
        await settled()
        second = await opened.open(20, work=works, name=NAME)
        await leaving  # the second takes over
        works.open.set()
        assert sorted(await indexes(second)) == list(range(20))
        await second.leave()
    assert set(works.begun.values()) == {1}


async def test_a_second_connection_takes_over_from_one_that_does_not_know_it_is_dead(
    store: Store,
) -> None:
    works = Works()
    async with batches(store).running() as opened:
        first = await opened.open(30, work=works, name=NAME)
        assert len(await indexes(first, most=5)) == 5
        second = await opened.open(30, work=works, name=NAME)
        assert sorted(await indexes(second)) == list(range(30))
        assert len(await indexes(first)) < 30
        await first.leave()
        await second.leave()
    assert set(works.begun.values()) == {1}


async def test_a_batch_that_is_whole_is_told_again_without_work(store: Store) -> None:
    works = Works()
    for _ in range(2):  # a restart between
        async with batches(store).running() as opened:
            reading = await opened.open(130, work=works, name=NAME)
            assert sorted(await indexes(reading)) == list(range(130))
            await reading.leave()
    assert set(works.begun.values()) == {1}


async def test_what_failed_for_a_while_is_tried_again_the_next_time(store: Store) -> None:
    works = Works(fails=[3])
    async with batches(store).running() as opened:
        reading = await opened.open(6, work=works, name=NAME)
        assert sorted(await indexes(reading)) == list(range(6))
        await reading.leave()
        works.fails.clear()
        again = await opened.open(6, work=works, name=NAME)
        assert sorted(await indexes(again)) == list(range(6))
        await again.leave()
    assert works.begun == Counter({3: 2, 0: 1, 1: 1, 2: 1, 4: 1, 5: 1})


async def test_a_name_is_one_bodys_while_it_runs_and_after(store: Store) -> None:
    works = Works(held=True)
    other = Name(NAME.tenant, NAME.key, "b" * 64)
    async with batches(store).running() as opened:
        reading = await opened.open(2, work=works, name=NAME)
        with pytest.raises(BatchMismatchError):
            await opened.open(2, work=works, name=other)
        works.open.set()
        await reading.leave()
        with pytest.raises(BatchMismatchError):
            await opened.open(2, work=works, name=other)
        stranger = Name("another", NAME.key, "b" * 64)
        theirs = await opened.open(2, work=works, name=stranger)
        assert sorted(await indexes(theirs)) == [0, 1]
        await theirs.leave()


async def test_another_replica_waits_until_the_first_has_stopped(store: Store) -> None:
    works = Works(held=True)
    async with batches(store).running() as one, batches(store).running() as two:
        reading = await one.open(9, work=works, name=NAME)
        await until(lambda: works.begun.total() == 4)
        with pytest.raises(BatchHeldError) as held:
            await two.open(9, work=works, name=NAME)
        assert held.value.retry_after_s is not None
        works.open.set()
        await reading.leave()
        async with asyncio.timeout(30):
            while True:
                try:
                    taken = await two.open(9, work=works, name=NAME)
                    break
                except BatchHeldError:
                    await asyncio.sleep(0.01)
        assert sorted(await indexes(taken)) == list(range(9))
        await taken.leave()
    assert set(works.begun.values()) == {1}


async def test_a_server_that_ends_cancels_and_frees_its_batches(store: Store) -> None:
    works = Works(held=True)
    async with batches(store).running() as one:
        await one.open(9, work=works, name=NAME)
        await until(lambda: works.begun.total() == 4)
    assert works.cancelled == 4
    works.open.set()
    async with batches(store).running() as two:
        reading = await two.open(9, work=works, name=NAME)
        assert sorted(await indexes(reading)) == list(range(9))
        await reading.leave()


async def test_a_server_that_will_end_tells_what_is_under_way_and_begins_nothing_more(
    store: Store,
) -> None:
    works = Works(held=True)
    async with batches(store).running() as one:
        reading = await one.open(9, work=works, name=NAME)
        await until(lambda: works.begun.total() == 4)
        await one.finish()
        with pytest.raises(StoreUnavailableError):
            await one.open(9, work=works, name=Name("tenant", "another", "a" * 64))
        works.open.set()
        assert sorted(await indexes(reading)) == [0, 1, 2, 3]
        await reading.leave()
    async with batches(store).running() as two:
        again = await two.open(9, work=works, name=NAME)
        assert sorted(await indexes(again)) == list(range(9))
        await again.leave()
    assert set(works.begun.values()) == {1}


@pytest.mark.parametrize("renews", [False, None])
async def test_who_lost_a_batch_begins_nothing_more(store: Store, *, renews: bool | None) -> None:
    works = Works(held=True)
    store.renews = renews
    async with batches(store, lease_s=0.3).running() as opened:
        reading = await opened.open(9, work=works, name=NAME)
        assert await indexes(reading) == []  # it ends without them
        works.open.set()
        await reading.leave()
    assert works.begun.total() <= 4


async def test_what_cannot_be_stored_is_told_all_the_same(store: Store) -> None:
    works = Works()
    async with batches(store).running() as opened:
        reading = await opened.open(4, work=works, name=NAME)
        store.keeps = False
        assert sorted(await indexes(reading)) == [0, 1, 2, 3]
        store.keeps = True
        await reading.leave()
        again = await opened.open(4, work=works, name=NAME)
        assert sorted(await indexes(again)) == [0, 1, 2, 3]
        await again.leave()


async def test_without_a_database_nothing_goes_by_a_name() -> None:
    async with batches(None).running() as opened:
        with pytest.raises(StoreUnavailableError):
            await opened.open(1, work=Works(), name=NAME)
