"""Databases that really store."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from cap_server.adapters.schema import STEPS, Step
from cap_server.adapters.sql import Database


class Open(Protocol):
    def __call__(self, steps: Sequence[Step] = STEPS) -> Database: ...


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one more view of the same database: SQLite always, PostgreSQL where it is installed."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'trust.db'}"
    else:
        url = _new_database(request.getfixturevalue("postgresql"))
    opened: list[Database] = []

    def open_(steps: Sequence[Step] = STEPS) -> Database:
        opened.append(Database(url, steps=steps))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


@pytest.fixture(scope="package")
def postgresql() -> Iterator[str]:
    """The URL of a server of the test's own."""
    postgres = shutil.which("postgres")
    initdb = shutil.which("initdb", path=_path_of(postgres))
    if postgres is None or initdb is None:
        pytest.skip("no PostgreSQL on this machine")
    with tempfile.TemporaryDirectory() as folder:
        user = _drop_to(folder)
        data = f"{folder}/data"
        subprocess.run(
            [initdb, "--auth=trust", "--username=cap", "-D", data],
            check=True, capture_output=True, user=user,
        )  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [postgres, "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
        server = subprocess.Popen(
            command, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            url = f"postgresql+psycopg://cap@127.0.0.1:{port}/postgres"
            _answers(url)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)


def _new_database(server: str) -> str:
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server.rpartition('/')[0]}/{name}"


def _path_of(postgres: str | None) -> str:
    real = "" if postgres is None else str(Path(postgres).resolve().parent)
    return os.pathsep.join([os.environ.get("PATH", ""), real])


def _drop_to(folder: str) -> str | None:
    """The user that PostgreSQL runs as, who owns `folder`: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    user = "postgres" if any(each.pw_name == "postgres" for each in pwd.getpwall()) else "nobody"
    os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    return user


def _answers(url: str) -> None:
    """Waits until queries are taken: it listens a moment before it has started up."""
    engine = create_engine(url)
    for _ in range(600):
        try:
            engine.connect().close()
        except OperationalError:
            time.sleep(0.05)
        else:
            engine.dispose()
            return
    raise AssertionError("PostgreSQL does not answer")
