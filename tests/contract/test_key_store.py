"""What every database of API keys promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from cap_server.adapters.sql import Database
from cap_server.adapters.sql_keys import SQLKeys
from cap_server.domain import Key
from cap_server.errors import NameTakenError, StoreUnavailableError
from tests.contract.conftest import Open

FIRST = Key("key_1", 'Zoë\'s "notebook"; --', "a" * 64, frozenset({"execute"}), 60, 0, created=1.5)
SECOND = Key("key_2", "two", "b" * 64, created=2.5)


async def test_a_key_is_told_to_every_process_as_it_was_made(database: Open) -> None:
    one, two = SQLKeys(database()), SQLKeys(database())
    assert (await two.live())[0] is False
    await one.add(FIRST)
    await one.add(SECOND)
    ever, live = await two.live()
    assert (ever, set(live)) == (True, {FIRST, SECOND})
    assert list(await two.all()) == [FIRST, SECOND]


@pytest.mark.parametrize("by", [SECOND.name, SECOND.id])
async def test_a_revoked_key_is_remembered_and_accepted_no_longer(database: Open, by: str) -> None:
    one, two = SQLKeys(database()), SQLKeys(database())
    await one.add(SECOND)
    revoked = await two.revoke(by)
    assert revoked is not None
    assert replace(revoked, revoked=None) == SECOND
    assert await one.live() == (True, [])
    assert list(await one.all()) == [revoked]
    assert await one.revoke(by) is None


async def test_a_name_is_one_keys_until_it_is_revoked(database: Open) -> None:
    store = SQLKeys(database())
    await store.add(SECOND)
    namesake = replace(SECOND, id="key_3", digest="c" * 64)
    with pytest.raises(NameTakenError, match="two"):
        await store.add(namesake)
    await store.revoke("two")
    await store.add(namesake)
    assert await store.live() == (True, [namesake])


async def test_of_two_that_ask_for_a_name_at_once_one_gets_it(database: Open) -> None:
    stores = [SQLKeys(database()) for _ in range(4)]
    await stores[0].add(FIRST)
    keys = [replace(SECOND, id=f"key_{n}", digest=str(n) * 64) for n in range(4, 8)]
    adding = (store.add(key) for store, key in zip(stores, keys, strict=True))
    ended = await asyncio.gather(*adding, return_exceptions=True)
    assert sorted(type(each).__name__ for each in ended) == ["NameTakenError"] * 3 + ["NoneType"]


async def test_looking_makes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "trust.db"
    database = Database(f"sqlite:///{file}")
    store = SQLKeys(database)
    assert await store.live() == (False, ())
    assert await store.all() == ()
    assert await store.revoke("any") is None
    assert not file.exists()
    file.touch()
    assert await store.live() == (False, ())
    assert file.stat().st_size == 0
    database.close()


async def test_a_database_that_cannot_be_had_is_an_error_of_ours() -> None:
    database = Database("postgresql+psycopg://cap@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailableError):
        await SQLKeys(database).live()
    with pytest.raises(StoreUnavailableError):
        await SQLKeys(database).add(FIRST)
    database.close()
