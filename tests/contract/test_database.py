"""What replicas promise each other that open one database at the same moment."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection, text

from cap_server.adapters.sql_keys import SQLKeys
from cap_server.domain import Key
from tests.contract.conftest import Open

REPLICAS = 8
KEY = Key("key_1", "mine", "d" * 64, frozenset(), None, None, created=1.0, revoked=None)


def add_a_column(connection: Connection) -> None:
    """Fails the second time."""
    connection.execute(text("ALTER TABLE cap_keys ADD COLUMN mood VARCHAR(10) DEFAULT 'good'"))


@pytest.mark.parametrize("_", range(4))  # a race is lost by chance
async def test_replicas_that_start_at_once_make_its_tables_once(database: Open, _: int) -> None:
    await asyncio.gather(*(database().check() for _ in range(REPLICAS)))
    stores = [SQLKeys(database()) for _ in range(REPLICAS)]
    assert await asyncio.gather(*(store.all() for store in stores)) == [()] * REPLICAS


async def test_replicas_that_start_at_once_take_a_step_once(database: Open) -> None:
    await SQLKeys(database()).add(KEY)
    replicas = [database(steps=[add_a_column]) for _ in range(REPLICAS)]
    await asyncio.gather(*(replica.check() for replica in replicas))
    for replica in replicas:
        assert await SQLKeys(replica).all() == [KEY]
        moods = await replica.run(
            lambda opened: opened.scalars(text("SELECT mood FROM cap_keys")).all(), tables=None
        )
        assert moods == ["good"]
