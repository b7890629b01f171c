"""Patterns of agreement in a database."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
)

from cap_server.adapters.sql import Database
from cap_server.domain import Pattern

_MOST_ROWS = 100_000
_MOST_READ = 20_000

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
    """Rows are only ever added; the oldest go when there are more than 100,000."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._replica = uuid.uuid4().hex

    async def append(self, patterns: Sequence[tuple[str, Pattern]]) -> None:
        await self._database.run(lambda opened: self._append(opened, patterns), tables=_metadata)

    async def others(self, *, after: int) -> tuple[int, Sequence[tuple[str, Pattern]]]:
        return await self._database.run(
            lambda opened: self._others(opened, after), tables=_metadata
        )

    def _append(self, connection: Connection, patterns: Sequence[tuple[str, Pattern]]) -> None:
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
        connection.execute(insert(_patterns), rows)
        newest = connection.scalar(select(func.max(_patterns.c.id))) or 0
        connection.execute(delete(_patterns).where(_patterns.c.id <= newest - _MOST_ROWS))

    def _others(self, connection: Connection, after: int) -> tuple[int, list[tuple[str, Pattern]]]:
        c = _patterns.c
        foreign = select(c.id, c.tenant, c.source, c.prior, c.programs).where(
            c.id > after, c.replica != self._replica
        )
        rows = connection.execute(foreign.order_by(c.id.desc()).limit(_MOST_READ)).all()
        read = [
            (row.tenant, Pattern(row.source, row.prior, tuple(json.loads(row.programs))))
            for row in reversed(rows)
        ]
        return (rows[0].id if rows else after), read
