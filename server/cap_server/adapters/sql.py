"""A database that stores share: an SQLite file, or PostgreSQL that replicas share."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine, MetaData, create_engine, func, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from cap_server.adapters.schema import STEPS, Step, bring_up, look
from cap_server.errors import StoreUnavailableError, StoreUnusableError

T = TypeVar("T")

_RETRY_AFTER_S = 5
_LOCK = 0x636170  # "cap", among the locks that PostgreSQL knows by number alone

_log = structlog.get_logger(__name__)


class Database:
    """Opened at its first use. One thread does its work: SQLite would serialise it anyway.

    Args:
        url: as SQLAlchemy takes it: `sqlite:///FILE`, `postgresql+psycopg://…`.
        steps: that lead from the first version of the tables to this one's.
    """

    def __init__(self, url: str, *, steps: Sequence[Step] = STEPS) -> None:
        self._url = url
        self._steps = steps
        self._looked = False
        self._brought_up = False
        self._failed = ""
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
            StoreUnusableError: it is damaged, or of a newer version.
        """
        if self._closed:
            raise StoreUnavailableError("The database is closed.")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._work, work, tables)

    async def check(self) -> None:
        """Bring its tables up to this version, and write once.

        Raises:
            StoreUnavailableError: it does not answer, or nothing can be written.
            StoreUnusableError: it is damaged, or of a newer version.
        """
        await self.run(lambda _: None, tables=MetaData())

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
            self._prepare(engine, writes=tables is not None)
            if tables is not None and tables not in self._made:
                with _alone(engine) as connection:
                    tables.create_all(connection)
                self._made.add(tables)
            with engine.begin() as connection:
                done = work(connection)
            self._tell("")
            return done
        except (SQLAlchemyError, OSError, ImportError) as error:
            damaged = _is_damaged(error)
            if self._looked or not damaged:  # else whoever opens it says so
                self._tell(repr(error)[:500])
            if damaged:
                raise StoreUnusableError("It is damaged, or no database.") from error
            raise StoreUnavailableError(
                "The database does not answer.", retry_after_s=_RETRY_AFTER_S
            ) from error

    def _prepare(self, engine: Engine, *, writes: bool) -> None:
        """See to it that the tables are of this version, once."""
        if not self._looked:
            with engine.begin() as connection:
                writes = look(connection, self._steps) or writes
            self._looked = not writes
        if writes and not self._brought_up:
            with _alone(engine) as connection:
                bring_up(connection, self._steps)
            self._looked = self._brought_up = True

    def _tell(self, failed: str) -> None:
        """Once, not each second: a database that is away shall not fill the disk with its log."""
        if failed and failed != self._failed:
            _log.warning("database_failed", error=failed)
        self._failed = failed

    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = create_engine(self._url, pool_pre_ping=True)
        return self._engine


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction to make or change tables in: replicas that start at once do so in turn."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Its driver would begin at the first row that changes, after any table that is made.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        yield connection


def _is_damaged(error: Exception) -> bool:
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
