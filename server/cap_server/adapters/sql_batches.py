"""Batches and their items in a database."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    inspect,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from cap_server.adapters.sql import Database
from cap_server.batches.item import Item, Name
from cap_server.domain import Usage
from cap_server.errors import BatchHeldError, BatchMismatchError

_SLACK_S = 5.0
"""By which replicas' leases may differ in length, and a clock may be corrected."""

_metadata = MetaData()
_batches = Table(
    "cap_batches",
    _metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("key", String(255), nullable=False),
    Column("body_hash", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("used", Float, nullable=False),
    Column("holder", String(40)),
    Column("until", Float, nullable=False),
    UniqueConstraint("tenant", "key"),
)
_items = Table(
    "cap_batch_items",
    _metadata,
    Column("batch", String(40), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("status", Integer, nullable=False),
    Column("line", LargeBinary, nullable=False),
    Column("usage", Text, nullable=False),
)


class SQLBatches:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, name: Name, *, new_id: str, holder: str, lease_s: float) -> str:
        return await self._database.run(
            lambda opened: _claim(opened, name, new_id, holder, lease_s), tables=_metadata
        )

    async def renew(self, batch: str, *, holder: str, lease_s: float) -> bool:
        return await self._database.run(
            lambda opened: _lease(opened, batch, holder, lease_s), tables=_metadata
        )

    async def release(self, batch: str, *, holder: str) -> None:
        await self._database.run(lambda opened: _lease(opened, batch, holder, 0), tables=_metadata)

    async def keep(self, items: Sequence[tuple[str, Item]]) -> None:
        await self._database.run(lambda opened: _keep(opened, items), tables=_metadata)

    async def indexes(self, batch: str) -> frozenset[int]:
        there = select(_items.c.position).where(_items.c.batch == batch)
        return await self._database.run(
            lambda opened: frozenset(opened.scalars(there)), tables=_metadata
        )

    async def kept(self, batch: str, *, after: int, most: int) -> Sequence[Item]:
        c = _items.c
        page = (
            select(_items)
            .where(c.batch == batch, c.position > after)
            .order_by(c.position)
            .limit(most)
        )
        return await self._database.run(
            lambda opened: [_item(row) for row in opened.execute(page)], tables=_metadata
        )

    async def sweep(self, *, before: float, most_bytes: int) -> None:
        if not self._database.absent():
            await self._database.run(lambda opened: _sweep(opened, before, most_bytes), tables=None)


def _claim(connection: Connection, name: Name, new_id: str, holder: str, lease_s: float) -> str:
    c, now = _batches.c, _now(connection)
    new = {
        "id": new_id,
        "tenant": name.tenant,
        "key": name.key,
        "body_hash": name.body_hash,
        "used": time.time(),
        "until": 0.0,
    }
    _insert_new(connection, _batches, [new])
    row = connection.execute(
        select(c.id, c.body_hash, c.until).where(c.tenant == name.tenant, c.key == name.key)
    ).one()
    if row.body_hash != name.body_hash:
        raise BatchMismatchError
    # No lease is longer: one that seems so was given before the clock was set back.
    over = or_(c.until <= now, c.until > now + lease_s + _SLACK_S)
    free = update(_batches).where(c.id == row.id, or_(over, c.holder == holder))
    leased = free.values(holder=holder, until=now + lease_s, used=time.time())
    if connection.execute(leased).rowcount == 0:
        raise BatchHeldError(
            "Another server works on this batch; its answer goes to another connection.",
            retry_after_s=max(1, math.ceil(row.until - now)),
        )
    return str(row.id)


def _lease(connection: Connection, batch: str, holder: str, lease_s: float) -> bool:
    held = update(_batches).where(_batches.c.id == batch, _batches.c.holder == holder)
    until = _now(connection) + lease_s if lease_s else 0.0
    return connection.execute(held.values(until=until, used=time.time())).rowcount > 0


def _keep(connection: Connection, items: Sequence[tuple[str, Item]]) -> None:
    rows = [
        {
            "batch": batch,
            "position": item.index,
            "status": item.status,
            "line": item.line,
            "usage": json.dumps(asdict(item.usage)),
        }
        for batch, item in items
    ]
    _insert_new(connection, _items, rows)
    grown: Counter[str] = Counter()
    for batch, item in items:
        grown[batch] += len(item.line)
    # In one order everywhere, or two replicas' transactions could wait for each other.
    for batch, size in sorted(grown.items()):
        found = update(_batches).where(_batches.c.id == batch)
        connection.execute(found.values(bytes=_batches.c.bytes + size, used=time.time()))


def _sweep(connection: Connection, before: float, most_bytes: int) -> None:
    if not inspect(connection).has_table(_batches.name):
        return
    c = _batches.c
    unheld = c.until <= _now(connection)
    connection.execute(delete(_batches).where(unheld, c.used < before))
    total = int(connection.scalar(select(func.coalesce(func.sum(c.bytes), 0))) or 0)
    while total > most_bytes:
        size = func.sum(c.bytes)
        biggest = select(c.tenant).where(unheld).group_by(c.tenant).order_by(size.desc()).limit(1)
        oldest = select(c.id, c.bytes).where(unheld, c.tenant == biggest.scalar_subquery())
        row = connection.execute(oldest.order_by(c.used).limit(1)).first()
        if row is None:
            break
        connection.execute(delete(_batches).where(c.id == row.id))
        total -= row.bytes
    # Whoever lost a batch may have kept items of it since.
    connection.execute(delete(_items).where(_items.c.batch.not_in(select(c.id))))


def _insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert `rows`, but for those that are there."""
    if connection.dialect.name == "postgresql":
        connection.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)
    else:
        connection.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)


def _now(connection: Connection) -> float:
    """The database's clock where replicas share it: their own may differ."""
    if connection.dialect.name == "postgresql":
        return float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")))
    return time.time()


def _item(row: Row[Any]) -> Item:
    return Item(row.position, row.status, bytes(row.line), Usage(**json.loads(row.usage)))
