"""What is kept across restarts: all in one database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import make_url

from cap_server.adapters.sql import Database
from cap_server.adapters.sql_batches import SQLBatches
from cap_server.adapters.sql_keys import SQLKeys
from cap_server.adapters.sql_patterns import SQLPatterns
from cap_server.ports import BatchStore, KeyStore, PatternStore
from cap_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Stores:
    """Attributes: database: what they share."""

    patterns: PatternStore
    keys: KeyStore
    batches: BatchStore
    database: Database


def place_of(settings: Settings) -> str:
    """Where the database is, for people: without its password."""
    return make_url(settings.database()).render_as_string(hide_password=True)


@contextmanager
def open_stores(settings: Settings) -> Iterator[Stores]:
    """The database that `settings` ask for; it is opened at its first use."""
    if settings.database_url is None:
        with suppress(OSError):
            settings.state_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database())
    try:
        yield Stores(
            patterns=SQLPatterns(database),
            keys=SQLKeys(database),
            batches=SQLBatches(database),
            database=database,
        )
    finally:
        database.close()
