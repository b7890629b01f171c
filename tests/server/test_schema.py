"""The database's version: written down, brought up to date, and a newer one's left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from cap_server.adapters.schema import Step
from cap_server.adapters.sql import Database
from cap_server.adapters.sql_keys import SQLKeys
from cap_server.adapters.sql_patterns import SQLPatterns
from cap_server.domain import Key, Pattern
from cap_server.errors import StoreUnavailableError, StoreUnusableError

AGREES = Pattern("s", prior=0, programs=(0, 0))
KEY = Key("key_1", "mine", "d" * 64, frozenset(), None, None, created=1.0, revoked=None)


def add_a_column(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE cap_patterns ADD COLUMN mood VARCHAR(10) DEFAULT 'good'"))


def fail(connection: Connection) -> None:
    add_a_column(connection)
    connection.execute(text("SELECT nonsense"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trust.db'}"


def asked(url: str, query: str) -> list[tuple[object, ...]]:
    """What another program sees in the database."""
    engine = create_engine(url)
    with engine.begin() as connection:
        rows = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return rows


async def an_old_one(url: str) -> None:
    """A database as versions made it that wrote no version down."""
    database = Database(url)
    await SQLPatterns(database).append([("all", AGREES)])
    await SQLKeys(database).add(KEY)
    database.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE cap_schema"))
    engine.dispose()


async def test_what_is_new_has_its_version_written_down(url: str) -> None:
    database = Database(url, steps=[add_a_column])
    await database.check()
    database.close()
    assert asked(url, "SELECT version FROM cap_schema") == [(2,)]


async def test_an_old_database_keeps_what_it_has_and_gets_its_version(url: str) -> None:
    await an_old_one(url)
    database = Database(url)
    await database.check()
    assert await SQLKeys(database).all() == [KEY]
    assert (await SQLPatterns(database).others(after=0))[1] == [("all", AGREES)]
    database.close()
    assert asked(url, "SELECT version FROM cap_schema") == [(1,)]


@pytest.mark.parametrize("read_only", [True, False])
async def test_steps_are_taken_once_whoever_comes_first(url: str, *, read_only: bool) -> None:
    await an_old_one(url)
    for _ in range(2):
        database = Database(url, steps=[add_a_column])
        if read_only:
            assert await SQLKeys(database).all() == [KEY]
        else:
            await SQLPatterns(database).append([("all", AGREES)])
        database.close()
    moods = asked(url, "SELECT mood FROM cap_patterns")
    assert moods == [("good",)] * (1 if read_only else 3)
    assert asked(url, "SELECT version FROM cap_schema") == [(2,)]


async def test_a_step_that_fails_leaves_all_as_it_was(url: str) -> None:
    await an_old_one(url)
    database = Database(url, steps=[fail])
    with pytest.raises(StoreUnavailableError):
        await database.check()
    database.close()
    assert asked(url, "SELECT programs FROM cap_patterns") == [("[0, 0]",)]
    with pytest.raises(Exception, match="mood"):
        asked(url, "SELECT mood FROM cap_patterns")


@pytest.mark.parametrize("steps", [(), (add_a_column,)])
async def test_a_newer_versions_database_is_refused_and_left_alone(
    url: str, steps: tuple[Step, ...]
) -> None:
    newer = Database(url, steps=[add_a_column] * 6)
    await newer.check()
    newer.close()
    database = Database(url, steps=steps)
    for _ in range(2):
        with pytest.raises(StoreUnusableError, match="schema 7"):
            await SQLKeys(database).live()
        with pytest.raises(StoreUnusableError, match="schema 7"):
            await SQLPatterns(database).append([("all", AGREES)])
    database.close()
    names = asked(url, "SELECT name FROM sqlite_master WHERE type = 'table'")
    assert names == [("cap_schema",)]


async def test_a_damaged_database_is_told_apart_from_one_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "trust.db").write_bytes(b"no database" * 1000)
    damaged = Database(f"sqlite:///{tmp_path / 'trust.db'}")
    with pytest.raises(StoreUnusableError, match="damaged"):
        await damaged.check()
    damaged.close()
    away = Database(f"sqlite:///{tmp_path}/no/folder/trust.db")
    with pytest.raises(StoreUnavailableError) as told:
        await away.check()
    assert not isinstance(told.value, StoreUnusableError)
    away.close()
    assert (tmp_path / "trust.db").read_bytes() == b"no database" * 1000
