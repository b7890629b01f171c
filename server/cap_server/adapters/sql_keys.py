"""API keys in a database."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    exists,
    insert,
    inspect,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from cap_server.adapters.sql import Database
from cap_server.domain import Key
from cap_server.errors import NameTakenError
from cap_server.keys import RIGHTS

_metadata = MetaData()
_keys = Table(
    "cap_keys",
    _metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("rights", String(200), nullable=False),
    Column("per_minute", Integer),
    Column("at_once", Integer),
    Column("created", Float, nullable=False),
    Column("revoked", Float),
)
_live = _keys.c.revoked.is_(None)
# Names of revoked keys are free again.
Index("cap_keys_name", _keys.c.name, unique=True, sqlite_where=_live, postgresql_where=_live)


class SQLKeys:
    """Only `add` makes anything in the database: a server that has no keys leaves it as it is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: Key) -> None:
        row = {
            "id": key.id,
            "name": key.name,
            "digest": key.digest,
            "rights": ",".join(sorted(key.rights)),
            "per_minute": key.per_minute,
            "at_once": key.at_once,
            "created": key.created,
            "revoked": key.revoked,
        }
        await self._database.run(lambda opened: _add(opened, row), tables=_metadata)

    async def live(self) -> tuple[bool, Sequence[Key]]:
        if self._database.absent():
            return False, ()
        return await self._database.run(_live_keys, tables=None)

    async def all(self) -> Sequence[Key]:
        if self._database.absent():
            return ()
        return await self._database.run(_all_keys, tables=None)

    async def revoke(self, name_or_id: str) -> Key | None:
        if self._database.absent():
            return None
        return await self._database.run(lambda opened: _revoke(opened, name_or_id), tables=None)


def _add(connection: Connection, row: dict[str, Any]) -> None:
    try:
        connection.execute(insert(_keys), row)
    except IntegrityError:
        raise NameTakenError(f"There is a key named {row['name']} already.", param="name") from None


def _live_keys(connection: Connection) -> tuple[bool, Sequence[Key]]:
    if not _there(connection):
        return False, ()
    ever = connection.scalar(select(exists(select(_keys.c.id))))
    return bool(ever), [_key(row) for row in connection.execute(select(_keys).where(_live))]


def _all_keys(connection: Connection) -> Sequence[Key]:
    if not _there(connection):
        return ()
    return [_key(row) for row in connection.execute(select(_keys).order_by(_keys.c.created))]


def _revoke(connection: Connection, name_or_id: str) -> Key | None:
    if not _there(connection):
        return None
    named = or_(_keys.c.id == name_or_id, _keys.c.name == name_or_id)
    revoked = update(_keys).where(named, _live).values(revoked=time.time()).returning(*_keys.c)
    row = connection.execute(revoked).first()
    return None if row is None else _key(row)


def _there(connection: Connection) -> bool:
    return inspect(connection).has_table(_keys.name)


def _key(row: Row[Any]) -> Key:
    """Rights that this version does not know, of a newer one's keys, are none."""
    named = row.rights.split(",")
    return Key(
        id=row.id,
        name=row.name,
        digest=row.digest,
        rights=frozenset(right for right in RIGHTS if right in named),
        per_minute=row.per_minute,
        at_once=row.at_once,
        created=row.created,
        revoked=row.revoked,
    )
