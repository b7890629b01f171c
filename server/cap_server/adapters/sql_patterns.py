"""Patterns of agreement in a database: an SQLite file, or PostgreSQL that replicas share."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from sqlalchemy import (
    Column,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from cap_server.domain import Pattern
from cap_server.errors import StoreUnavailableError

T = TypeVar("T")

_MOST_ROWS = 100_000
_MOST_READ = 20_000

_log = structlog.get_logger(__name__)

_metadata = MetaData()
_patterns = Table(
    "cap_patterns",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("replica", String(32), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("source", String(200)),
    Column("prior", Integer),
    Column("programs", Text, nullable=False),
    Column("created", Float, nullable=False),
    Index("cap_patterns_replica", "replica"),
    sqlite_autoincrement=True,
)


class SQLPatterns:
    """Rows are only ever added; the oldest go when there are more than 100,000.

    Args:
        url: as SQLAlchemy takes it: `sqlite:///FILE`, `postgresql+psycopg://…`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._replica = uuid.uuid4().hex
        self._engine: Engine | None = None
        # One thread at a time uses the engine; SQLite would serialise them anyway.
        self._lock = threading.Lock()

    async def append(self, patterns: Sequence[tuple[str, Pattern]]) -> None:
        await self._in_thread(lambda engine: self._append(engine, patterns))

    async def others(self, *, after: int) -> tuple[int, Sequence[tuple[str, Pattern]]]:
        return await self._in_thread(lambda engine: self._others(engine, after))

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()

    async def _in_thread(self, work: Callable[[Engine], T]) -> T:
        return await asyncio.to_thread(self._work, work)

    def _work(self, work: Callable[[Engine], T]) -> T:
        try:
            with self._lock:
                return work(self._opened())
        except (SQLAlchemyError, OSError, ImportError) as error:
            _log.warning("database_failed", error=repr(error)[:500])
            raise StoreUnavailableError("The database does not answer.") from error

    def _opened(self) -> Engine:
        """The engine; made, with its table, at the first use that works."""
        if self._engine is None:
            engine = create_engine(self._url, pool_pre_ping=True)
            _metadata.create_all(engine)
            self._engine = engine
        return self._engine

    def _append(self, engine: Engine, patterns: Sequence[tuple[str, Pattern]]) -> None:
        now = time.time()
        rows = [
            {
                "replica": self._replica,
                "tenant": tenant,
                "source": pattern.source,
                "prior": pattern.prior,
                "programs": json.dumps(pattern.programs),
                "created": now,
            }
            for tenant, pattern in patterns
        ]
        with engine.begin() as connection:
            connection.execute(insert(_patterns), rows)
            newest = connection.scalar(select(func.max(_patterns.c.id))) or 0
            connection.execute(delete(_patterns).where(_patterns.c.id <= newest - _MOST_ROWS))

    def _others(self, engine: Engine, after: int) -> tuple[int, list[tuple[str, Pattern]]]:
        c = _patterns.c
        foreign = select(c.id, c.tenant, c.source, c.prior, c.programs).where(
            c.id > after, c.replica != self._replica
        )
        with engine.connect() as connection:
            rows = connection.execute(foreign.order_by(c.id.desc()).limit(_MOST_READ)).all()
        read = [
            (row.tenant, Pattern(row.source, row.prior, tuple(json.loads(row.programs))))
            for row in reversed(rows)
        ]
        return (rows[0].id if rows else after), read
