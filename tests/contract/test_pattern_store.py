"""What every database of patterns promises: SQLite always, PostgreSQL where it is installed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cap_server.adapters.sql_patterns import SQLPatterns
from cap_server.domain import Pattern
from cap_server.errors import StoreUnavailableError

PATTERNS = [
    ("one", Pattern("gpt-4", 0, (0, None, 1))),
    ("two", Pattern(None, None, (0,))),
    ("one", Pattern('名字 "; drop table cap_patterns; --', 2, ())),
]
Open = Callable[[], SQLPatterns]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens one more view of the same database."""
    if request.param == "sqlite":
        return lambda: SQLPatterns(f"sqlite:///{tmp_path / 'trust.db'}")
    url: str = request.getfixturevalue("postgresql")
    return lambda: SQLPatterns(url)


@pytest.fixture(scope="module")
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
            _listens(port)
            yield f"postgresql+psycopg://cap@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(timeout=30)


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


def _listens(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("PostgreSQL does not listen")


async def test_what_one_process_appends_the_others_read_once_and_itself_never(store: Open) -> None:
    one, two = store(), store()
    await one.append(PATTERNS)
    assert (await one.others(after=0))[1] == []
    mark, read = await two.others(after=0)
    assert read[-3:] == PATTERNS
    assert await two.others(after=mark) == (mark, [])
    await one.append(PATTERNS[:1])
    assert (await two.others(after=mark))[1] == PATTERNS[:1]
    one.close()
    two.close()


async def test_replicas_write_at_once(store: Open) -> None:
    stores = [store() for _ in range(4)]
    await asyncio.gather(*(each.append(PATTERNS) for each in stores for _ in range(5)))
    reader = store()
    assert len((await reader.others(after=0))[1]) >= 60
    for each in (*stores, reader):
        each.close()


@pytest.mark.parametrize(
    "url", ["sqlite:////proc/none/trust.db", "postgresql+psycopg://cap@127.0.0.1:1/none"]
)
async def test_a_database_that_cannot_be_had_is_an_error_of_ours(url: str) -> None:
    store = SQLPatterns(url)
    with pytest.raises(StoreUnavailableError):
        await store.append(PATTERNS)
    with pytest.raises(StoreUnavailableError):
        await store.others(after=0)
