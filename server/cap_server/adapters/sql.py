"""A database that stores share: an SQLite file, or PostgreSQL that replicas share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine, MetaData, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from cap_server.errors import StoreUnavailableError

T = TypeVar("T")

_RETRY_AFTER_S = 5

_log = structlog.get_logger(__name__)


class Database:
    """Opened at its first use. One thread does its work: SQLite would serialise it anyway.

    Args:
        url: as SQLAlchemy takes it: `sqlite:///FILE`, `postgresql+psycopg://…`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None
        self._made: set[MetaData] = set()
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")

    async def run(self, work: Callable[[Connection], T], *, tables: MetaData | None) -> T:
        """What `work` returns, done in a transaction of its own.

        Args:
            work: runs in another thread.
            tables: made where they are missing; None makes nothing.

        Raises:
            StoreUnavailableError: the database does not answer; nothing was done.
        """
        if self._closed:
            raise StoreUnavailableError("The database is closed.")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._work, work, tables)

    def absent(self) -> bool:
        """Whether it is an SQLite file that nobody has made yet."""
        url = make_url(self._url)
        if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
            return False
        return not Path(str(url.database)).exists()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._engine is not None:
            # SQLite wants its connections closed where they were opened.
            self._thread.submit(self._engine.dispose).result()
        self._thread.shutdown()

    def _work(self, work: Callable[[Connection], T], tables: MetaData | None) -> T:
        try:
            engine = self._opened()
            if tables is not None and tables not in self._made:
                _make(tables, engine)
                self._made.add(tables)
            with engine.begin() as connection:
                return work(connection)
        except (SQLAlchemyError, OSError, ImportError) as error:
            _log.warning("database_failed", error=repr(error)[:500])
            raise StoreUnavailableError(
                "The database does not answer.", retry_after_s=_RETRY_AFTER_S
            ) from error

    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = create_engine(self._url, pool_pre_ping=True)
        return self._engine


def _make(tables: MetaData, engine: Engine) -> None:
    try:
        tables.create_all(engine)
    except SQLAlchemyError:
        # Another replica may have made them between the look and the making.
        tables.create_all(engine)
