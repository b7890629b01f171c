"""Patterns on their way to estimates: behind the requests, across restarts, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from cap_server.adapters.sql import Database
from cap_server.adapters.sql_patterns import SQLPatterns
from cap_server.domain import Pattern
from cap_server.errors import StoreUnavailableError
from cap_server.ports import PatternStore
from cap_server.trust import Ledger
from tests.server.benches import until

AGREES, DIFFERS = Pattern("s", 0, (0, 0)), Pattern("s", 0, (1, 1))


class _Store:
    """In memory; down while it is told to be."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Pattern]] = []
        self.down = False

    async def append(self, patterns: Sequence[tuple[str, Pattern]]) -> None:
        if self.down:
            raise StoreUnavailableError("down")
        self.kept += patterns

    async def others(self, *, after: int) -> tuple[int, Sequence[tuple[str, Pattern]]]:
        if self.down:
            raise StoreUnavailableError("down")
        return after, []


def ledger(store: PatternStore | None = None) -> Ledger:
    return Ledger(store, reliability=0.95)


async def test_what_was_recorded_counts_soon_and_for_its_tenant_only() -> None:
    async with ledger().running() as kept:
        for _ in range(60):
            kept.record("one", AGREES)
            kept.record("two", DIFFERS)
        await until(lambda: kept.estimates("one").sources and kept.estimates("two").sources)
        assert kept.estimates("one").accuracy("s") > 0.9
        assert kept.estimates("two").accuracy("s") < 0.5
        assert kept.estimates("three").sources == {}


async def test_patterns_without_an_answer_of_a_program_are_not_kept() -> None:
    store = _Store()
    async with ledger(store).running() as kept:
        kept.record("one", Pattern("s", 0, (None, None)))
        kept.record("one", AGREES)
    assert store.kept == [("one", AGREES)]


async def test_a_store_that_is_down_costs_nothing_but_the_word_and_gets_it_all_later() -> None:
    store = _Store()
    async with ledger(store).running() as kept:
        store.down = True
        for _ in range(50):
            kept.record("one", AGREES)
        await until(lambda: not kept.stored)
        await until(lambda: kept.estimates("one").sources)
        assert kept.estimates("one").accuracy("s") > 0.9
        store.down = False
        for _ in range(50):
            kept.record("one", AGREES)
        await until(lambda: kept.stored and len(store.kept) == 100)


async def test_a_store_that_is_down_at_the_start_does_not_keep_the_server_from_starting() -> None:
    store = _Store()
    store.down = True
    async with ledger(store).running() as kept:
        assert not kept.stored


async def test_what_is_being_stored_when_the_server_ends_is_stored_once() -> None:
    begun, may_go_on = asyncio.Event(), asyncio.Event()

    class Slow(_Store):
        async def append(self, patterns: Sequence[tuple[str, Pattern]]) -> None:
            # As a database's threads, it goes on, whatever becomes of who waits for it.
            await asyncio.shield(asyncio.ensure_future(self._slowly(patterns)))

        async def _slowly(self, patterns: Sequence[tuple[str, Pattern]]) -> None:
            begun.set()
            await may_go_on.wait()
            await super().append(patterns)

    store = Slow()
    async with ledger(store).running() as kept:
        for _ in range(50):
            kept.record("one", AGREES)
        await begun.wait()
        asyncio.get_running_loop().call_later(0.1, may_go_on.set)
    await until(lambda: len(store.kept) >= 50)
    assert len(store.kept) == 50


async def test_more_tenants_than_fit_push_the_oldest_out() -> None:
    async with ledger().running() as kept:
        for n in range(300):
            kept.record(str(n), AGREES)
        for _ in range(50):
            kept.record("299", AGREES)
        await until(lambda: kept.estimates("299").sources)
        assert kept.estimates("0").sources == {}


async def test_trust_survives_a_restart_and_is_shared_by_replicas(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'trust.db'}"
    with closing(Database(url)) as database:
        async with ledger(SQLPatterns(database)).running() as first:
            for _ in range(60):
                first.record("one", DIFFERS)
    with closing(Database(url)) as database:
        async with ledger(SQLPatterns(database)).running() as second:
            learned = second.estimates("one")
    assert learned.accuracy("s") < 0.5
    assert learned.sources["s"].requests == 60


@pytest.mark.parametrize("text", ["not a database", ""])
async def test_a_file_that_is_no_database_is_told_and_does_no_harm(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "trust.db"
    file.write_text(text * 1000)
    with closing(Database(f"sqlite:///{file}")) as database:
        async with ledger(SQLPatterns(database)).running() as kept:
            kept.record("one", AGREES)
            assert kept.stored is (text == "")
