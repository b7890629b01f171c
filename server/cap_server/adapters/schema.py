"""Which version of the tables a database has, and the way from an older version to this one's.

One row in a table of its own says so. Databases of before that table have version 1. A newer
version's database is refused: this code would not know what its columns mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    insert,
    inspect,
    select,
    update,
)

from cap_server.errors import StoreUnusableError

Step = Callable[[Connection], None]
"""From one version to the next, in SQL that SQLite and PostgreSQL both speak. It changes tables
that are there; those that are not are made as they are now."""

STEPS: Sequence[Step] = ()
"""`STEPS[0]` leads from version 1 to 2. Never changed once released, only added to."""

_FIRST = 1
_OURS = "cap_"

_metadata = MetaData()
_schema = Table(
    "cap_schema",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
)


def look(connection: Connection, steps: Sequence[Step]) -> bool:
    """Whether there are tables of ours that are older than this code. It changes nothing.

    Raises:
        StoreUnusableError: they are newer.
    """
    tables = inspect(connection).get_table_names()
    if not any(name.startswith(_OURS) for name in tables):
        return False
    if _schema.name not in tables:
        return bool(steps)
    return _known(connection, steps) < _newest(steps)


def bring_up(connection: Connection, steps: Sequence[Step]) -> None:
    """Write down the version, after the steps that lead to it.

    Args:
        connection: in a transaction, alone: no other replica changes tables until it ends.
        steps: all there are; those that are older than the database are left out.

    Raises:
        StoreUnusableError: the database is newer.
    """
    tables = inspect(connection).get_table_names()
    old = any(name.startswith(_OURS) and name != _schema.name for name in tables)
    _metadata.create_all(connection)
    if connection.scalar(select(_schema.c.version)) is None:
        version = _FIRST if old else _newest(steps)
        connection.execute(insert(_schema), {"id": 1, "version": version})
    for step in steps[_known(connection, steps) - _FIRST :]:
        step(connection)
    connection.execute(update(_schema).values(version=_newest(steps)))


def _newest(steps: Sequence[Step]) -> int:
    return _FIRST + len(steps)


def _known(connection: Connection, steps: Sequence[Step]) -> int:
    """The version that is written down; that of a database whose row is not there yet."""
    version = connection.scalar(select(_schema.c.version)) or _FIRST
    if version > _newest(steps):
        raise StoreUnusableError(
            f"It is of a newer version of this server (schema {version}, this one knows "
            f"{_newest(steps)}): update the server, or name another database."
        )
    return version
