"""What every database of patterns promises."""

from __future__ import annotations

import asyncio

import pytest

from cap_server.adapters.sql import Database
from cap_server.adapters.sql_patterns import SQLPatterns
from cap_server.domain import Pattern
from cap_server.errors import StoreUnavailableError
from tests.contract.conftest import Open

PATTERNS = [
    ("one", Pattern("gpt-4", 0, (0, None, 1))),
    ("two", Pattern(None, None, (0,))),
    ("one", Pattern('名字 "; drop table cap_patterns; --', 2, ())),
]


async def test_what_one_process_appends_the_others_read_once_and_itself_never(
    database: Open,
) -> None:
    one, two = SQLPatterns(database()), SQLPatterns(database())
    await one.append(PATTERNS)
    assert (await one.others(after=0))[1] == []
    mark, read = await two.others(after=0)
    assert read == PATTERNS
    assert await two.others(after=mark) == (mark, [])
    await one.append(PATTERNS[:1])
    assert (await two.others(after=mark))[1] == PATTERNS[:1]


async def test_replicas_write_at_once(database: Open) -> None:
    stores = [SQLPatterns(database()) for _ in range(4)]
    await asyncio.gather(*(each.append(PATTERNS) for each in stores for _ in range(5)))
    reader = SQLPatterns(database())
    assert len((await reader.others(after=0))[1]) == 60


@pytest.mark.parametrize(
    "url", ["sqlite:////proc/none/trust.db", "postgresql+psycopg://cap@127.0.0.1:1/none"]
)
async def test_a_database_that_cannot_be_had_is_an_error_of_ours(url: str) -> None:
    store = SQLPatterns(Database(url))
    with pytest.raises(StoreUnavailableError):
        await store.append(PATTERNS)
    with pytest.raises(StoreUnavailableError):
        await store.others(after=0)


async def test_a_closed_database_is_an_error_of_ours(database: Open) -> None:
    closed = database()
    store = SQLPatterns(closed)
    await store.append(PATTERNS)
    closed.close()
    with pytest.raises(StoreUnavailableError):
        await store.append(PATTERNS)
